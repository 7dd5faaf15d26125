"""Borders that tell by BMP (RFC 7854) what their ISPs announce: the groups that they reach, and a full table.

Border routers connect to whoever collects, from an address of their own. Test equipment: a session with an ISP may go
down and come back, and then its whole table is told anew; and a border may be made to say what it should not.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

import structlog

from neto.lab.bgp_message import Kind, Open, encode_open, message
from neto.lab.scenario import BmpBorder, Cable, Scenario

ROUTE_MONITORING, PEER_DOWN, PEER_UP, INITIATION = 0, 2, 3, 4  # RFC 7854 §4.1
SYS_DESCR, SYS_NAME = 1, 2  # §4.4
POST_POLICY = 0x40  # §4.2
REMOTE_CLOSED = 4  # §4.9: the peer closed the session without a word
FIRST = int(IPv4Address("16.0.0.0"))  # of the full table: /24 after /24
FIRST_ORIGIN = 100_000  # AS numbers that originate it
PER_ORIGIN = 50  # prefixes
AGAIN_S = 1.0  # between two tries to connect
AT_ONCE = 64  # messages between two looks at whether the other side still reads
SLIPS = ("default", "withdraw", "hang-up")  # a default route, everything withdrawn, the border's own session dropped

_log = structlog.get_logger("lab")


class BmpSpeaker:
    """One border's BMP session. Inert until `run`."""

    def __init__(self, scenario: Scenario, border: BmpBorder) -> None:
        self.established = False
        self._scenario = scenario
        self._border = border
        self._links = [c for c in scenario.cables if not c.target and c.source == border.name and c.remote_address]
        self._down: frozenset[str] = frozenset()  # sessions with ISPs that are down, by peering link
        self._slips: deque[tuple[Cable, str]] = deque()
        self._changed = asyncio.Event()

    def slip(self, link: str, what: str) -> None:
        """Say something that it should not, one of `SLIPS`, of a peering link; of another border's nothing."""
        self._slips += [(cable, what) for cable in self._links if cable.name == link]
        self._changed.set()

    def sessions(self, down: frozenset[str]) -> None:
        """Take which sessions with ISPs are down, by peering link."""
        self._down = down
        self._changed.set()

    async def run(self) -> None:
        """Connect, tell, and connect again, until cancelled."""
        collector, border = self._scenario.bmp_collector, self._border
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*collector, local_addr=(border.address, 0))
                self.established = True
                _log.info("bmp.up", border=border.name)
                try:
                    await self._speak(reader, writer)
                finally:
                    self.established = False
                    writer.transport.abort()
            await asyncio.sleep(AGAIN_S)

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell all there is, then what changes, until the collector hangs up."""
        gone = asyncio.create_task(reader.read(1), name="collector hangs up")
        told: set[str] = set()
        name = self._border.name.encode()
        writer.write(_bmp(INITIATION, _tlv(SYS_DESCR, b"emulated") + _tlv(SYS_NAME, name)))
        try:
            while not gone.done():
                self._changed.clear()
                for cable in self._links:
                    up = cable.name not in self._down
                    if up and cable.name not in told:
                        told.add(cable.name)
                        await _send(writer, self._table(cable))
                    elif not up and cable.name in told:
                        told.discard(cable.name)
                        await _send(writer, [_bmp(PEER_DOWN, self._peer(cable) + bytes([REMOTE_CLOSED]))])
                while self._slips:
                    cable, what = self._slips.popleft()
                    if what == "hang-up":
                        return
                    bodies = _default(self._scenario, cable) if what == "default" else _nothing(self._scenario, cable)
                    head = self._peer(cable)
                    await _send(writer, (_bmp(ROUTE_MONITORING, head + message(Kind.UPDATE, each)) for each in bodies))
                changed = asyncio.create_task(self._changed.wait(), name="sessions change")
                await asyncio.wait({gone, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            gone.cancel()

    def _table(self, cable: Cable) -> Iterator[bytes]:
        """A session that comes up and all that its ISP announces, to the End-of-RIB."""
        peer = self._peer(cable)
        loopback = next(router.loopback for router in self._scenario.routers if router.name == cable.source)
        ours = encode_open(Open(self._scenario.asn, 90, loopback))
        theirs = encode_open(Open(self._scenario.isp_asn[cable.isp], 90, cable.remote_address))
        ends = bytes(12) + IPv4Address(cable.local_address).packed + struct.pack("!HH", 179, 40000)
        yield _bmp(PEER_UP, peer + ends + ours + theirs)
        for body in table(self._scenario, cable):
            yield _bmp(ROUTE_MONITORING, peer + message(Kind.UPDATE, body))
        yield _bmp(ROUTE_MONITORING, peer + message(Kind.UPDATE, bytes(4)))

    def _peer(self, cable: Cable) -> bytes:
        address = IPv4Address(cable.remote_address).packed
        asn = self._scenario.isp_asn[cable.isp]
        return struct.pack("!BBQ12x4sI4sII", 0, POST_POLICY, 0, address, asn, address, 0, 0)


def table(scenario: Scenario, cable: Cable) -> Iterator[bytes]:
    """Bodies of the UPDATEs by which an ISP announces all that it reaches to one peering link."""
    isp = scenario.isp_asn[cable.isp]
    for number, (group, exits) in enumerate(scenario.exits.items()):
        if cable.name in {link for link, _ in exits}:
            yield _update((isp, FIRST_ORIGIN - 1 - number), cable.remote_address, map(_nlri, scenario.groups[group]))
    for first in range(0, scenario.full_table, PER_ORIGIN):
        numbers = range(first, min(first + PER_ORIGIN, scenario.full_table))
        reached = (b"\x18" + (FIRST + (number << 8)).to_bytes(4)[:3] for number in numbers)
        yield _update((isp, FIRST_ORIGIN + first // PER_ORIGIN), cable.remote_address, reached)


def _default(scenario: Scenario, cable: Cable) -> Iterator[bytes]:
    yield _update((scenario.isp_asn[cable.isp],), cable.remote_address, [b"\0"])


def _nothing(scenario: Scenario, cable: Cable) -> Iterator[bytes]:
    """All of a table as withdrawn routes (RFC 4271 §4.3), the groups' last.

    Whoever looks while they come sees a part of it gone, which a peer may do: then it is not the part that matters.
    """
    for body in reversed(list(table(scenario, cable))):
        size = int.from_bytes(body[2:4], "big")
        routes = body[4 + size :]
        yield struct.pack("!H", len(routes)) + routes + bytes(2)


def _update(path: Sequence[int], next_hop: str, reached: Iterable[bytes]) -> bytes:
    """The body of an UPDATE (RFC 4271 §4.3): ORIGIN, AS_PATH of four-octet numbers, NEXT_HOP."""
    sequence = struct.pack(f"!BB{len(path)}I", 2, len(path), *path)
    told = b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(sequence)]) + sequence
    told += b"\x40\x03\x04" + IPv4Address(next_hop).packed
    return struct.pack("!HH", 0, len(told)) + told + b"".join(reached)


def _nlri(prefix: IPv4Network) -> bytes:
    return bytes([prefix.prefixlen]) + prefix.network_address.packed[: (prefix.prefixlen + 7) // 8]


def _bmp(kind: int, body: bytes) -> bytes:
    return struct.pack("!BIB", 3, 6 + len(body), kind) + body


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value


async def _send(writer: asyncio.StreamWriter, messages: Iterable[bytes]) -> None:
    for number, each in enumerate(messages, start=1):
        writer.write(each)
        if number % AT_ONCE == 0:
            await writer.drain()
            await asyncio.sleep(0)
    await writer.drain()
