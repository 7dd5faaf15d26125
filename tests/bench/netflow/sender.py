"""Sends a stream's packets from their exporters' addresses, as often as asked, as if they were exported just now.

sendmmsg through ctypes, the source address of each packet in its control message: one socket stands for every exporter.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .flows import FATES
from .packets import UPTIME_MS, Stream
from .table import address

_LIBC = ctypes.CDLL(None, use_errno=True)
_IP_PKTINFO = 8  # Linux; not among the constants of Python 3.11
_CHUNK = 64  # packets between two looks at the receiver's queue
_AHEAD_S = 0.02  # of packets that are given their times at once
_SEQUENCE_AT = {5: 16, 9: 12, 10: 8}
# struct mmsghdr, struct iovec and struct cmsghdr with struct in_pktinfo, on 64-bit Linux
_MMSGHDR = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "length"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
_IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
_PKTINFO = np.dtype(
    [
        ("length", "u8"),
        ("level", "i4"),
        ("type", "i4"),
        ("interface", "i4"),
        ("source", "4u1"),
        ("to", "u4"),
        ("pad", "u4"),
    ]
)


class Sent(NamedTuple):
    """What was sent."""

    packets: int
    flows: int
    octets: np.ndarray  # (fates,) with sampling applied


NOTHING = Sent(0, 0, np.zeros(len(FATES), np.int64))


def add(*parts: Sent) -> Sent:
    return Sent(sum(p.packets for p in parts), sum(p.flows for p in parts), sum(p.octets for p in parts))


class Sender:
    """Sends one stream to one port of 127.0.0.1."""

    def __init__(self, stream: Stream, port: int) -> None:
        self._stream = stream
        self._octets = stream.octets.copy()  # several senders may share a stream
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._at = self._round = 0
        self._began = time.time()
        self._to = np.frombuffer(
            struct.pack("=HH4s8x", 2, socket.htons(port), socket.inet_aton("127.0.0.1")), "u1"
        ).copy()
        sources = np.array([list(socket.inet_aton(address(n))) for n in stream.exporters], np.uint8)
        self._control = np.zeros(stream.packets, _PKTINFO)
        self._control["length"], self._control["type"] = 28, _IP_PKTINFO
        self._control["source"] = sources
        self._iovec = np.zeros(stream.packets, _IOVEC)
        self._iovec["base"] = self._octets.ctypes.data + stream.begins[:-1]
        self._iovec["length"] = np.diff(stream.begins)
        self._header = np.zeros(stream.packets, _MMSGHDR)
        rows = np.arange(stream.packets)
        self._header["name"], self._header["namelen"] = self._to.ctypes.data, len(self._to)
        self._header["iov"], self._header["iovlen"] = self._iovec.ctypes.data + rows * _IOVEC.itemsize, 1
        self._header["control"] = self._control.ctypes.data + rows * _PKTINFO.itemsize
        self._header["controllen"] = _PKTINFO.itemsize

    def close(self) -> None:
        self._socket.close()

    def preamble(self) -> int:
        """Tell templates and options; return how many packets that took."""
        for exporter, packet in self._stream.preamble:
            octets = bytearray(packet)
            version = struct.unpack_from("!H", octets)[0]
            struct.pack_into("!I", octets, 8 if version == 9 else 4, int(time.time()))
            source = struct.pack("=i4s4x", 0, socket.inet_aton(address(exporter)))
            control = [(socket.IPPROTO_IP, _IP_PKTINFO, source)]
            self._socket.sendmsg([octets], control, 0, ("127.0.0.1", self._port))
        return len(self._stream.preamble)

    def send(self, packets: int, queue: int | None = None) -> Sent:
        """Send so many, or until the receiver's queue holds `queue` octets."""
        done = NOTHING
        while done.packets < packets:
            begin, end = self._at, min(self._at + packets - done.packets, self._stream.packets)
            self._refresh(begin, end)
            stop = begin
            while stop < end and (queue is None or queued(self._port).octets < queue):
                now, stop = stop, min(stop + _CHUNK, end)
                self._send(now, stop)
            done = add(done, self._account(begin, stop))
            if stop < end:
                break
        return done

    def pace(self, packets_s: float, seconds: float, chunk: int) -> tuple[Sent, float]:
        """Send at an even rate, `chunk` packets at a time; return also how late the latest was, in seconds."""
        total, done, latest = int(packets_s * seconds), 0, 0.0
        parts, began = [], time.perf_counter()
        while done < total:
            begin = self._at
            end = min(begin + max(chunk, int(packets_s * _AHEAD_S)), begin + total - done, self._stream.packets)
            self._refresh(begin, end)
            for at in range(begin, end, chunk):
                due = began + done / packets_s
                while (early := due - time.perf_counter()) > 0:
                    if early > 0.0005:
                        time.sleep(early - 0.0003)
                latest = max(latest, -early)
                self._send(at, min(at + chunk, end))
                done += min(at + chunk, end) - at
            parts.append(self._account(begin, end))
        return add(NOTHING, *parts), latest

    def _account(self, begin: int, end: int) -> Sent:
        """Go on after these packets, and say what was in them."""
        told = self._stream
        self._at = end
        if end == told.packets:
            self._at, self._round = 0, self._round + 1
        flows = int(told.first_flow[end] - told.first_flow[begin])
        return Sent(end - begin, flows, told.truth[end] - told.truth[begin])

    def _send(self, begin: int, end: int) -> None:
        fd, headers = self._socket.fileno(), self._header.ctypes.data
        while begin < end:
            at = ctypes.c_void_p(headers + begin * _MMSGHDR.itemsize)
            sent = _LIBC.sendmmsg(fd, at, end - begin, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            begin += sent

    def _refresh(self, begin: int, end: int) -> None:
        """Let packets be exported now: times of headers and flows, and sequence numbers of this round."""
        told, now = self._stream, time.time()
        now_ms = int(now * 1000)
        uptime = UPTIME_MS + int((now - self._began) * 1000)
        at, versions = told.begins[begin:end], told.versions[begin:end]
        sequence = told.sequence[begin:end] + self._round * told.span[begin:end]
        for version in np.unique(versions).tolist():
            these = versions == version
            self._write(at[these] + _SEQUENCE_AT[version], sequence[these], 4)
            if version != 10:
                self._write(at[these] + 4, np.array(uptime), 4)
            self._write(at[these] + (4 if version == 10 else 8), np.array(now_ms // 1000), 4)
            if version == 5:
                self._write(at[these] + 12, np.array(now_ms % 1000 * 1_000_000), 4)
        flows = slice(told.first_flow[begin], told.first_flow[end])
        wide = told.wide[flows]
        for where, ago in ((told.start_at[flows], told.started_ms[flows]), (told.end_at[flows], told.ended_ms[flows])):
            if wide.any():
                self._write(where[wide], now_ms - ago[wide], 8)
            if not wide.all():
                self._write(where[~wide], uptime - ago[~wide], 4)

    def _write(self, at, numbers, width) -> None:
        octets = np.ascontiguousarray(numbers.astype(f">u{width}")[..., None]).view(np.uint8)
        self._octets[at[:, None] + np.arange(width)] = octets


class Queue(NamedTuple):
    """A receiver's queue in the kernel."""

    octets: int
    dropped: int  # datagrams


def queued(port: int) -> Queue:
    """What waits at a UDP port, and what was dropped there."""
    octets = dropped = 0
    for file in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(file).read_text().splitlines()[1:]:
            words = line.split()
            if int(words[1].rpartition(":")[2], 16) == port:
                octets += int(words[4].partition(":")[2], 16)
                dropped += int(words[12])
    return Queue(octets, dropped)
