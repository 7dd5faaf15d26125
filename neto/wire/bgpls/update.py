"""The body of an UPDATE message -> the BGP-LS objects in it (RFC 4271 §4.3, RFC 4760, RFC 9552)."""

from __future__ import annotations

from collections.abc import Iterator

from neto.errors import WireError
from neto.wire.bgpls.attributes import Findings, link_attributes, node_attributes, prefix_attributes
from neto.wire.bgpls.nlri import decode_nlri, split_nlris
from neto.wire.bgpls.objects import (
    LinkAttributes,
    LinkId,
    LsKey,
    LsLink,
    LsNode,
    LsObject,
    LsPrefix,
    LsUpdate,
    NodeAttributes,
    NodeId,
    PrefixAttributes,
    Protocol,
    Tlv,
)
from neto.wire.bgpls.tlv import tlvs

_MP_REACH, _MP_UNREACH, _BGP_LS = 14, 15, 29
_OURS = frozenset({_MP_REACH, _MP_UNREACH, _BGP_LS})
_EXTENDED_LENGTH = 0x10
_LINK_STATE = b"\x40\x04\x47"  # AFI 16388, SAFI 71
_FAMILY_SIZE = 3


def decode_update(body: bytes) -> LsUpdate:
    """Decode an UPDATE message without its 19-octet header.

    Raises WireError when it cannot be told which objects it is about. A BGP-LS attribute that cannot be taken apart
    is discarded instead, and a single TLV that cannot be read is left out (RFC 9552 §8.2.2).
    """
    attributes = _path_attributes(body)
    reach, unreach = _link_state(attributes, _MP_REACH), _link_state(attributes, _MP_UNREACH)
    findings = Findings()
    skipped: list[Tlv] = []
    reached = () if reach is None else tuple(_keys(_after_next_hop(reach), findings, skipped))
    withdrawn = () if unreach is None else tuple(_keys(unreach, findings, skipped))
    discarded, told = False, list[Tlv]()
    try:
        told = list(tlvs(attributes.get(_BGP_LS, b"")))
    except WireError:
        discarded = True
    return LsUpdate(
        tuple(_said(reached, told, findings)),
        withdrawn,
        end_of_rib=reach is None and unreach == b"",  # RFC 4724 §2
        unknown_tlvs=findings.unknown,
        malformed_tlvs=findings.malformed,
        unknown_nlris=tuple(skipped),
        attribute_discarded=discarded,
    )


def _path_attributes(body: bytes) -> dict[int, bytes]:
    """Return the path attributes that we read, by type. Of one that occurs twice the first counts (RFC 7606 §3 g)."""
    at = 2 + int.from_bytes(body[:2], "big")  # past the withdrawn IPv4 routes
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if len(body) < at + 2 or len(body) < end:
        raise WireError(f"UPDATE of {len(body)} octets is cut off")
    at += 2
    found: dict[int, bytes] = {}
    while at < end:
        size = 2 if body[at] & _EXTENDED_LENGTH else 1
        begin = at + 2 + size
        length = int.from_bytes(body[at + 2 : begin], "big")
        if begin + length > end:
            raise WireError(f"path attribute at octet {at} leads beyond the attributes")
        kind = body[at + 1]
        if kind in _OURS:
            if kind != _BGP_LS and kind in found:
                raise WireError(f"path attribute {kind} occurs twice")
            found.setdefault(kind, body[begin : begin + length])
        at = begin + length
    return found


def _link_state(attributes: dict[int, bytes], kind: int) -> bytes | None:
    """Return what a multiprotocol attribute says of BGP-LS; None when that is nothing."""
    value = attributes.get(kind, b"")
    return value[_FAMILY_SIZE:] if value[:_FAMILY_SIZE] == _LINK_STATE else None


def _after_next_hop(reach: bytes) -> bytes:
    """Return the NLRIs: next hop and a reserved octet come before them (RFC 4760 §3)."""
    begin = 2 + (reach[0] if reach else 0)
    if len(reach) < begin:
        raise WireError(f"MP_REACH_NLRI of {len(reach)} octets is cut off")
    return reach[begin:]


def _keys(data: bytes, findings: Findings, skipped: list[Tlv]) -> Iterator[LsKey]:
    for kind, body in split_nlris(data):
        key = decode_nlri(kind, body, findings.unknown)
        if key is None:
            skipped.append((kind, body))
        else:
            yield key


def _said(keys: tuple[LsKey, ...], told: list[Tlv], findings: Findings) -> Iterator[LsObject]:
    """Join each object with what the attribute says of its kind."""
    nodes: dict[Protocol, NodeAttributes] = {}
    links: dict[Protocol, LinkAttributes] = {}
    prefixes: dict[Protocol, PrefixAttributes] = {}
    for key in keys:
        if isinstance(key, NodeId):
            protocol = key.protocol
            if protocol not in nodes:
                nodes[protocol] = node_attributes(told, protocol, findings)
            yield LsNode(key, nodes[protocol])
        elif isinstance(key, LinkId):
            protocol = key.local.protocol
            if protocol not in links:
                links[protocol] = link_attributes(told, protocol, findings)
            yield LsLink(key, links[protocol])
        else:
            protocol = key.node.protocol
            if protocol not in prefixes:
                prefixes[protocol] = prefix_attributes(told, protocol, findings)
            yield LsPrefix(key, prefixes[protocol])
