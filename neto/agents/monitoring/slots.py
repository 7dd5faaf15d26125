"""A ring of slots that datagrams are received into, many with one system call and no object for any.

Linux has recvmmsg(2), which is called through ctypes; elsewhere datagrams come one by one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import numpy.typing as npt

from neto.jit import compiled, eight_octets

SLOTS = 512
_OCTETS = 65536 + 1536  # of a slot: any datagram fits, and slots do not fall on the same lines of a cache
_ADDRESS = 28  # octets of a sockaddr_in6
_AT_ONCE = 256  # datagrams a system call is asked for
_MSG_DONTWAIT = 0x40
# struct mmsghdr on 64-bit Linux
_HEADER = np.dtype(
    {
        "names": ["name", "name_octets", "parts", "part_count", "control", "control_octets", "flags", "octets"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
_FAMILY = struct.Struct("=H")
_MAPPED = 0xFFFF  # before an IPv4 address in an IPv6 one
_AF_INET6 = int(socket.AF_INET6)
_MIX = 0x9E3779B97F4A7C15

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]


class Slots:
    """Datagrams, and who sent them. packets: (SLOTS, octets) uint8. lengths: (SLOTS,). count: slots that are filled."""

    def __init__(self) -> None:
        self.count = 0
        self.packets = np.zeros((SLOTS, _OCTETS), np.uint8)  # pages that nothing is written to take no memory
        self.lengths: Int64s = np.zeros(SLOTS, np.int64)
        self._addresses = np.zeros((SLOTS, _ADDRESS), np.uint8)
        self._views = [memoryview(packet)[:65536] for packet in self.packets]  # type: ignore[arg-type]  # is a buffer
        call = _recvmmsg()
        self.receive = self._receive_singly if call is None else self._prepared(call)

    def peers(self, table: PeerTable) -> Int32s:
        """Rows of those who sent what is there, (count,); -1 for strangers."""
        return table.find(self._addresses[: self.count])

    def sender(self, slot: int) -> str:
        """Address of who sent a datagram."""
        return _address(self._addresses[slot].tobytes())

    def clear(self) -> None:
        """Make all slots free."""
        self.count = 0

    def _prepared(self, call: Callable[..., int]) -> Callable[[socket.socket], bool]:
        parts = np.zeros((SLOTS, 2), np.uint64)
        parts[:, 0] = self.packets.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * np.uint64(_OCTETS)
        parts[:, 1] = 65536
        headers = np.zeros(SLOTS, _HEADER)
        headers["name"] = self._addresses.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * np.uint64(_ADDRESS)
        headers["parts"] = parts.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * np.uint64(16)
        headers["part_count"] = 1
        self._parts = parts  # the headers point into it
        at, name_octets, octets = headers.ctypes.data, headers["name_octets"], headers["octets"]

        def receive(source: socket.socket) -> bool:
            """Fill free slots; whether the socket is empty then. Raises OSError as the system call fails."""
            descriptor = source.fileno()
            while self.count < SLOTS:
                first, wanted = self.count, min(_AT_ONCE, SLOTS - self.count)
                name_octets[first : first + wanted] = _ADDRESS
                got = call(descriptor, at + 64 * first, wanted, _MSG_DONTWAIT, None)
                if got < 0:
                    number = ctypes.get_errno()
                    if number in {errno.EAGAIN, errno.EWOULDBLOCK}:
                        return True
                    if number == errno.EINTR:
                        continue
                    raise OSError(number, os.strerror(number))
                self.lengths[first : first + got] = octets[first : first + got]
                self.count += got
                if got < wanted:
                    return True
            return False

        return receive

    def _receive_singly(self, source: socket.socket) -> bool:
        """Fill free slots; whether the socket is empty then. Raises OSError as the socket does."""
        while self.count < SLOTS:
            try:
                self.lengths[self.count], peer = source.recvfrom_into(self._views[self.count])
            except BlockingIOError:
                return True
            self._sent_by(peer[0])
        return False

    def put(self, packet: bytes, sender: str) -> None:
        """Fill a free slot."""
        self.packets[self.count, : len(packet)] = np.frombuffer(packet, np.uint8)
        self.lengths[self.count] = len(packet)
        self._sent_by(sender)

    def _sent_by(self, sender: str) -> None:
        address = _sockaddr(sender)
        self._addresses[self.count, : len(address)] = np.frombuffer(address, np.uint8)
        self.count += 1


class PeerTable:
    """Rows of addresses that may send.

    addresses: no two the same, each in any notation; an IPv4 address in an IPv6 one is the former.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._keys = np.zeros((2 << len(addresses).bit_length(), 2), np.uint64)
        self._rows = np.full(len(self._keys), -1, np.int32)
        for row, address in enumerate(addresses):
            sixteen = _sixteen(address)
            high, low = (np.uint64(int.from_bytes(half, "big")) for half in (sixteen[:8], sixteen[8:]))
            _know(self._keys, self._rows, high, low, row)

    def find(self, addresses: npt.NDArray[np.uint8]) -> Int32s:
        """Rows of socket addresses, (n, 28); -1 for one that is not known."""
        found = np.empty(len(addresses), np.int32)
        _find(addresses, self._keys, self._rows, found)
        return found


@compiled
def _find(addresses: npt.NDArray[np.uint8], keys: Words, rows: Int32s, found: Int32s) -> None:
    for index in range(len(addresses)):
        address = addresses[index]
        high, low = np.uint64(0), (np.uint64(_MAPPED) << np.uint64(32)) | (eight_octets(address, 4) >> np.uint64(32))
        if address[0] == _AF_INET6 or address[1] == _AF_INET6:  # in the host's order
            high, low = eight_octets(address, 8), eight_octets(address, 16)
        found[index] = rows[_slot(keys, rows, high, low)]


@compiled
def _know(keys: Words, rows: Int32s, high: np.uint64, low: np.uint64, row: int) -> None:
    slot = _slot(keys, rows, high, low)
    keys[slot, 0], keys[slot, 1], rows[slot] = high, low, row


@compiled
def _slot(keys: Words, rows: Int32s, high: np.uint64, low: np.uint64) -> int:
    """Where an address is, or would be: a hash table with open addressing that is half empty."""
    mixed = (high ^ (low * np.uint64(_MIX))) * np.uint64(_MIX)
    slot = np.int64(mixed >> np.uint64(33)) & (len(rows) - 1)
    while rows[slot] >= 0 and not (keys[slot, 0] == high and keys[slot, 1] == low):
        slot = (slot + 1) & (len(rows) - 1)
    return int(slot)


def _sixteen(address: str) -> bytes:
    """Write an address as 16 octets: an IPv4 address as one in IPv6, and no scope."""
    parsed = ip_address(address.partition("%")[0])
    return parsed.packed if isinstance(parsed, IPv6Address) else _MAPPED.to_bytes(12, "big") + parsed.packed


def _sockaddr(address: str) -> bytes:
    """Write an address as the kernel does, port and scope left out."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return _FAMILY.pack(socket.AF_INET) + bytes(2) + parsed.packed
    return _FAMILY.pack(socket.AF_INET6) + bytes(6) + parsed.packed


def _address(sockaddr: bytes) -> str:
    """Read what `_sockaddr` writes; an IPv4 address in an IPv6 one is the former."""
    if _FAMILY.unpack_from(sockaddr)[0] == socket.AF_INET:
        return str(IPv4Address(sockaddr[4:8]))
    address = IPv6Address(sockaddr[8:24])
    return str(address.ipv4_mapped or address)


def _recvmmsg() -> Callable[..., int] | None:
    """The system call; None where its structures are not known to look as they do here."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:  # noqa: PLR2004 octets of a pointer
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        call.restype = ctypes.c_int
    return call
