"""What an emulated router exports of the traffic it carries: NetFlow v5, v9 or IPFIX packets.

Written from the formats' own texts, apart from the daemon's decoder, so that each can find the other wrong:
v5 is Cisco's fixed layout, v9 is RFC 3954, IPFIX is RFC 7011 with the elements of the IANA registry.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

Format = Literal["v5", "v9", "ipfix"]
Field = tuple[int, int]  # element, length in bytes

_ROOM = 1400  # bytes of UDP payload that fit any path
_V5_RECORDS = 30  # most records a v5 packet holds
_UPTIME_MS = 3_600_000  # a router that has been up for an hour when it first exports
_OPTIONS, _V4, _V6 = 256, 257, 258  # template ids
_UDP = 17

_COUNTERS: tuple[Field, ...] = ((1, 8), (2, 8), (5, 1), (4, 1), (10, 4), (14, 4))  # octets, packets, tos, protocol, ifs
_UPTIMES: tuple[Field, ...] = ((22, 4), (21, 4))  # first and last switched, ms of uptime
_MILLISECONDS: tuple[Field, ...] = ((152, 8), (153, 8))  # flow start and end, ms of unix time
_ADDRESSES: dict[int, tuple[Field, ...]] = {_V4: ((8, 4), (12, 4)), _V6: ((27, 16), (28, 16))}


@dataclass(frozen=True, slots=True)
class Flow:
    """Traffic as it passed, before sampling."""

    src: IPv4Address | IPv6Address
    dst: IPv4Address | IPv6Address
    octets: int
    packets: int
    tos: int = 0  # the whole byte: DSCP << 2
    in_if: int = 0
    out_if: int = 0
    start: float = 0.0  # unix seconds
    end: float = 0.0


class Exporter:
    """One router's export process: templates, options and sequence numbers as its protocol wants them.

    sampling: one in so many packets is looked at, so octets and packets leave divided by it and the interval is
    announced (v5: in every header; v9, IPFIX: by options). A template goes out at the start and every
    `template_every_s` seconds. v5 carries IPv4 only: other flows are left out and counted in `left_out`.
    """

    def __init__(self, form: Format, domain: int = 0, *, sampling: int = 1, template_every_s: float = 20.0) -> None:
        if not 1 <= sampling < 1 << 14:
            raise ValueError("sampling must be 1 to 16383, what a v5 header can say")
        self.form = form
        self.domain = domain
        self.sampling = sampling
        self.template_every_s = template_every_s
        self.left_out = 0
        self._sequence = 0
        self._booted: float | None = None
        self._announced: float | None = None

    def packets(self, flows: Iterable[Flow], now: float) -> list[bytes]:
        """Export `flows` at `now` (unix seconds) as UDP payloads in the order they leave."""
        if self._booted is None:
            self._booted = now - _UPTIME_MS / 1000
        if self.form == "v5":
            return list(self._v5(list(flows), now))
        return list(self._templated(list(flows), now))

    def _uptime_ms(self, when: float) -> int:
        assert self._booted is not None  # noqa: S101 packets() sets it first
        return round((when - self._booted) * 1000) & 0xFFFFFFFF

    def _v5(self, flows: Sequence[Flow], now: float) -> Iterator[bytes]:
        records = []
        for flow in flows:
            if isinstance(flow.src, IPv6Address) or isinstance(flow.dst, IPv6Address):
                self.left_out += 1
                continue
            records += [self._v5_record(flow, *part) for part in _parts(self._seen(flow), limit=0xFFFFFFFF)]
        for at in range(0, len(records), _V5_RECORDS):
            chunk = records[at : at + _V5_RECORDS]
            seconds = int(now)
            yield struct.pack(
                "!HHIIIIBBH",
                5,
                len(chunk),
                self._uptime_ms(now),
                seconds,
                int((now - seconds) * 1e9),
                self._sequence & 0xFFFFFFFF,
                self.domain >> 8 & 0xFF,  # engine type
                self.domain & 0xFF,  # engine id
                (1 << 14 | self.sampling) if self.sampling > 1 else 0,  # mode 1: one packet in N
            ) + b"".join(chunk)
            self._sequence += len(chunk)  # flows seen before the next packet

    def _v5_record(self, flow: Flow, octets: int, packets: int) -> bytes:
        return struct.pack(
            "!4s4s4sHHIIIIHHBBBBHHBBH",
            flow.src.packed,
            flow.dst.packed,
            bytes(4),  # next hop
            flow.in_if & 0xFFFF,
            flow.out_if & 0xFFFF,
            packets,
            octets,
            self._uptime_ms(flow.start),
            self._uptime_ms(flow.end),
            *(0, 0, 0, 0),  # ports, padding, TCP flags
            _UDP,
            flow.tos,
            *(0, 0, 0, 0, 0),  # AS numbers, masks, padding
        )

    def _seen(self, flow: Flow) -> tuple[int, int]:
        """Octets and packets after sampling; a flow that carried something is not rounded away."""
        octets, packets = round(flow.octets / self.sampling), round(flow.packets / self.sampling)
        return max(octets, min(flow.octets, 1)), max(packets, min(flow.packets, 1))

    def _templated(self, flows: Sequence[Flow], now: float) -> Iterator[bytes]:
        if self._announced is None or now - self._announced >= self.template_every_s or now < self._announced:
            self._announced = now
            yield self._message([self._templates(), self._options_template(), self._options_data()], 4, 1, now)
        for template, family in ((_V4, IPv4Address), (_V6, IPv6Address)):
            records = [self._record(flow) for flow in flows if isinstance(flow.src, family)]
            per_packet = (_ROOM - 24) // len(records[0]) if records else 1
            for at in range(0, len(records), per_packet):
                chunk = records[at : at + per_packet]
                yield self._message([_set(template, b"".join(chunk))], len(chunk), len(chunk), now)

    def _record(self, flow: Flow) -> bytes:
        octets, packets = self._seen(flow)
        head = flow.src.packed + flow.dst.packed
        body = struct.pack("!QQBBII", octets, packets, flow.tos, _UDP, flow.in_if, flow.out_if)
        if self.form == "v9":
            return head + body + struct.pack("!II", self._uptime_ms(flow.start), self._uptime_ms(flow.end))
        return head + body + struct.pack("!QQ", round(flow.start * 1000), round(flow.end * 1000))

    def _message(self, sets: Sequence[bytes], records: int, data_records: int, now: float) -> bytes:
        """Put a header before `sets`.

        records: all records, templates too, the count of v9. data_records: what IPFIX counts, options data included.
        """
        body = b"".join(sets)
        if self.form == "v9":  # RFC 3954 §5.1: the sequence counts packets
            header = struct.pack(
                "!HHIIII", 9, records, self._uptime_ms(now), int(now), self._sequence & 0xFFFFFFFF, self.domain
            )
            self._sequence += 1
        else:  # RFC 7011 §3.1: the sequence counts data records sent before this message
            header = struct.pack("!HHIII", 10, 16 + len(body), int(now), self._sequence & 0xFFFFFFFF, self.domain)
            self._sequence += data_records
        return header + body

    def _templates(self) -> bytes:
        times = _UPTIMES if self.form == "v9" else _MILLISECONDS
        body = b""
        for template, addresses in _ADDRESSES.items():
            fields = addresses + _COUNTERS + times
            body += struct.pack("!HH", template, len(fields)) + _fields(fields)
        return _set(0 if self.form == "v9" else 2, body)  # RFC 3954 §5.2, RFC 7011 §3.3.2

    def _options_template(self) -> bytes:
        if self.form == "v9":  # RFC 3954 §6.1: lengths in bytes; scope 1 is the system
            scope, options = _fields([(1, 4)]), _fields([(34, 4), (35, 1)])
            return _set(1, struct.pack("!HHH", _OPTIONS, len(scope), len(options)) + scope + options)
        # RFC 7011 §3.4.2.2: counts of fields, scope first; the scope is the observation domain (149)
        return _set(3, struct.pack("!HHH", _OPTIONS, 3, 1) + _fields([(149, 4), (305, 4), (306, 4)]))

    def _options_data(self) -> bytes:
        if self.form == "v9":  # samplingInterval, samplingAlgorithm (1: deterministic)
            return _set(_OPTIONS, struct.pack("!IIB", 0, self.sampling, 1))
        # samplingPacketInterval 1 of every 1 + samplingPacketSpace (RFC 5477 §8.2)
        return _set(_OPTIONS, struct.pack("!III", self.domain, 1, self.sampling - 1))


def _fields(fields: Iterable[Field]) -> bytes:
    return b"".join(struct.pack("!HH", element, length) for element, length in fields)


def _set(number: int, body: bytes) -> bytes:
    """Frame `body` as a set, padded to four bytes (RFC 3954 §5.2, RFC 7011 §3.3.1)."""
    padding = -len(body) % 4
    return struct.pack("!HH", number, 4 + len(body) + padding) + body + bytes(padding)


def _parts(counters: tuple[int, int], *, limit: int) -> Iterator[tuple[int, int]]:
    """Split octets and packets so that each part's fit the 32 bits that v5 has for them."""
    octets, packets = counters
    count = max(1, -(-octets // limit), -(-packets // limit))
    for part in range(count):
        yield (
            octets * (part + 1) // count - octets * part // count,
            packets * (part + 1) // count - packets * part // count,
        )
