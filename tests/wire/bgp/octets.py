"""BGP and BMP messages written octet by octet, apart from every encoder and decoder of the project."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def word(number, size=4):
    return number.to_bytes(size, "big")


def attribute(kind, value, *, flags=0x40):
    if len(value) > 255:
        return bytes([flags | 0x10, kind]) + word(len(value), 2) + value
    return bytes([flags, kind, len(value)]) + value


def nlri(prefix, path_id=None):
    network = ip_network(prefix)
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return (b"" if path_id is None else word(path_id)) + bytes([network.prefixlen]) + octets


def sequence(*numbers, size=4, kind=2):
    return bytes([kind, len(numbers)]) + b"".join(word(number, size) for number in numbers)


A_PATH = sequence(64500, 64511)


def attributes(path=A_PATH, hop="192.0.2.1", origin=0, pref=None, med=None, communities=(), more=b""):
    told = attribute(1, bytes([origin])) + attribute(2, path)
    told += attribute(3, ip_address(hop).packed) if hop else b""
    told += attribute(4, word(med), flags=0x80) if med is not None else b""
    told += attribute(5, word(pref)) if pref is not None else b""
    if communities:
        told += attribute(8, b"".join(word(a << 16 | b) for a, b in communities), flags=0xC0)
    return told + more


def update(told=b"", reached=b"", withdrawn=b""):
    return word(len(withdrawn), 2) + withdrawn + word(len(told), 2) + told + reached


def mp_reach(hop, *prefixes, afi=2, safi=1):
    packed = b"".join(ip_address(each).packed for each in hop)
    return attribute(14, word(afi, 2) + bytes([safi, len(packed)]) + packed + b"\0" + b"".join(prefixes), flags=0x80)


def mp_unreach(*prefixes, afi=2, safi=1):
    return attribute(15, word(afi, 2) + bytes([safi]) + b"".join(prefixes), flags=0x80)


def message(kind, body):
    return b"\xff" * 16 + word(19 + len(body), 2) + bytes([kind]) + body


def open_body(asn=65000, bgp_id="10.0.0.1", capabilities=b"", hold_time=90):
    parameters = bytes([2, len(capabilities)]) + capabilities if capabilities else b""
    short = asn if asn < 65536 else 23456
    return (
        b"\x04"
        + word(short, 2)
        + word(hold_time, 2)
        + ip_address(bgp_id).packed
        + bytes([len(parameters)])
        + parameters
    )


def capability(code, value):
    return bytes([code, len(value)]) + value


AS4 = capability(65, word(65000))
ADD_PATH_BOTH = capability(69, b"\0\x01\x01\x03\0\x02\x01\x03")
ADD_PATH_SENDS = capability(69, b"\0\x01\x01\x02")
ADD_PATH_RECEIVES = capability(69, b"\0\x01\x01\x01")


def bmp(kind, body):
    return b"\x03" + word(6 + len(body)) + bytes([kind]) + body


def peer(address="192.0.2.1", asn=64500, bgp_id="192.0.2.1", *, kind=0, flags=0, distinguisher=0, at=(0, 0)):
    parsed = ip_address(address)
    flags |= 0x80 if parsed.version == 6 else 0
    return (
        bytes([kind, flags])
        + word(distinguisher, 8)
        + parsed.packed.rjust(16, b"\0")
        + word(asn)
        + ip_address(bgp_id).packed
        + word(at[0])
        + word(at[1])
    )


def tlv(kind, value):
    return word(kind, 2) + word(len(value), 2) + value


def peer_up(head=None, *, local="192.0.2.254", sent=AS4, received=AS4, information=b""):
    ends = ip_address(local).packed.rjust(16, b"\0") + word(179, 2) + word(40000, 2)
    both = message(1, open_body(65000, "10.0.0.1", sent)) + message(1, open_body(64500, "192.0.2.1", received))
    return (head or peer()) + ends + both + information


def monitoring(body, head=None):
    return (head or peer()) + message(2, body)
