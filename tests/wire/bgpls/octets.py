"""BGP-LS messages written octet by octet, apart from every encoder and decoder of the project."""

from __future__ import annotations

LINK_STATE = bytes.fromhex("4004 47")  # AFI 16388, SAFI 71
REACH_FROM = LINK_STATE + bytes.fromhex("04 0a000001 00")  # next hop 10.0.0.1, reserved

NODE, LINK, PREFIX_V4, PREFIX_V6 = 1, 2, 3, 4
ISIS_L1, ISIS_L2, OSPF, DIRECT, STATIC, OSPF3, BGP = range(1, 8)


def octets(text):
    return bytes.fromhex(text)


def tlv(kind, *values):
    """Join values: bytes, or hexadecimal."""
    value = b"".join(bytes.fromhex(v) if isinstance(v, str) else v for v in values)
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def nlri(kind, protocol, *descriptors, instance=0):
    return tlv(kind, bytes([protocol]), instance.to_bytes(8, "big"), *descriptors)


def ends(local, remote):
    return tlv(256, local) + tlv(257, remote)


def path_attribute(kind, value, *, extended=None):
    extended = len(value) > 255 if extended is None else extended
    flags, size = (0x90, 2) if extended else (0x80, 1)
    return bytes([flags, kind]) + len(value).to_bytes(size, "big") + value


def body(*path_attributes):
    joined = b"".join(path_attributes)
    return b"\0\0" + len(joined).to_bytes(2, "big") + joined


def reach(*nlris, told=b"", extended=None):
    return body(
        path_attribute(1, b"\0"),
        path_attribute(14, REACH_FROM + b"".join(nlris), extended=extended),
        path_attribute(29, told, extended=extended),
    )


def unreach(*nlris):
    return body(path_attribute(15, LINK_STATE + b"".join(nlris)))


SYSTEM_1, SYSTEM_2 = "0000 0000 0001", "0000 0000 0002"
ROUTER_1 = tlv(512, "0000fde8") + tlv(515, SYSTEM_1)  # AS 65000
ROUTER_2 = tlv(512, "0000fde8") + tlv(515, SYSTEM_2)
A_NODE = nlri(NODE, ISIS_L2, tlv(256, ROUTER_1))
A_LINK = nlri(LINK, ISIS_L2, ends(ROUTER_1, ROUTER_2), tlv(259, "0a010201"), tlv(260, "0a010202"))
A_PREFIX = nlri(PREFIX_V4, ISIS_L2, tlv(256, ROUTER_1), tlv(265, "20 0aff0001"))
END_OF_RIB = unreach()
