"""Link-state objects of small networks, as a speaker would tell them, built without any encoder."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from neto.wire.bgpls import (
    AdjacencySid,
    LabelRange,
    LinkAttributes,
    LinkId,
    LsLink,
    LsNode,
    LsPrefix,
    NodeAttributes,
    NodeId,
    PeerSid,
    PeerSidKind,
    PrefixAttributes,
    PrefixId,
    PrefixSid,
    Protocol,
)

L1, L2, OSPF, BGP = Protocol.ISIS_LEVEL_1, Protocol.ISIS_LEVEL_2, Protocol.OSPFV2, Protocol.BGP
SRGB = (LabelRange(16000, 8000),)


def loopback(number):
    return f"10.255.0.{number}"


def router_id(number, protocol=L2):
    return IPv4Address(loopback(number)).packed if protocol.is_ospf else number.to_bytes(6, "big")


def end(number, protocol=L2, *, area=None, lan=None):
    """A router, or the LAN of which it is the designated router."""
    igp = router_id(number, protocol) + (b"" if lan is None else lan.to_bytes(4 if protocol.is_ospf else 1, "big"))
    return NodeId(protocol, 0, igp, asn=65000, area=area)


def node(number, name=None, protocol=L2, *, area=None, **said):
    said = {"router_ids": (loopback(number),), "srgb": SRGB, **said}
    return LsNode(end(number, protocol, area=area), NodeAttributes(name=name or f"r{number}", **said))


def half(a, b, subnet=None, protocol=L2, *, area=None, ids=None, topologies=(), **said):
    """One direction of a link; `subnet` is the third octet of its addresses, each router's number the fourth."""
    ours, theirs = (() if subnet is None else (f"10.1.{subnet}.{number}",) for number in (a, b))
    local_id, remote_id = ids or (None, None)
    key = LinkId(
        a if isinstance(a, NodeId) else end(a, protocol, area=area),
        b if isinstance(b, NodeId) else end(b, protocol, area=area),
        local_id,
        remote_id,
        ours,
        theirs,
        topologies,
    )
    return LsLink(key, LinkAttributes(**{"max_mbps": 1000.0, "igp_metric": 10, **said}))


def link(a, b, subnet=None, protocol=L2, **said):
    return [half(a, b, subnet, protocol, **said), half(b, a, subnet, protocol, **said)]


def told_only(told, **key):
    return replace(told, key=replace(told.key, **key))


def adjacency(label, *, protected=False, is_set=False, ipv6=False, is_label=True, neighbour=b""):
    return AdjacencySid(label, is_label, True, protected, is_set, ipv6, 0, 0, neighbour)


def prefix(number, index, protocol=L2, *, network=None, area=None, flags=None, topologies=(), **sid):
    sid = {
        "is_label": False,
        "is_local": False,
        "is_node": True if protocol.is_isis else None,
        "algorithm": 0,
        "flags": 0,
        **sid,
    }
    key = PrefixId(end(number, protocol, area=area), IPv4Network(network or loopback(number)), topologies)
    return LsPrefix(key, PrefixAttributes(sids=(PrefixSid(index, **sid),), attribute_flags=flags))


def peering(border, address, *sids):
    key = LinkId(
        NodeId(BGP, 0, asn=65000, bgp_router_id=loopback(border)),
        NodeId(BGP, 0, asn=64500, bgp_router_id="192.0.2.1"),
        local_addresses=("198.51.100.1",),
        remote_addresses=(address,),
    )
    return LsLink(key, LinkAttributes(peer_sids=sids))


def peer_sid(value, kind=PeerSidKind.NODE, *, is_label=True):
    return PeerSid(kind, value, is_label, True, 0, 0xC0)
