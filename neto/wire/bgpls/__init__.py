"""BGP-LS: bodies of BGP UPDATE messages -> nodes, links and prefixes. Sans-IO (RFC 9552).

update.py      an UPDATE in, `LsUpdate` out.
nlri.py        NLRI -> what an object is: `NodeId`, `LinkId`, `PrefixId`.
attributes.py  the BGP-LS attribute -> what is said of it; the one place where its units change.
sids.py        the segment identifiers in it.
objects.py     all of these types.
tlv.py         type, length, value.
"""

from neto.wire.bgpls.objects import (
    AdjacencySid,
    LabelRange,
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
    PeerSid,
    PeerSidKind,
    PrefixAttributes,
    PrefixId,
    PrefixSid,
    Protocol,
)
from neto.wire.bgpls.update import decode_update

__all__ = [
    "AdjacencySid",
    "LabelRange",
    "LinkAttributes",
    "LinkId",
    "LsKey",
    "LsLink",
    "LsNode",
    "LsObject",
    "LsPrefix",
    "LsUpdate",
    "NodeAttributes",
    "NodeId",
    "PeerSid",
    "PeerSidKind",
    "PrefixAttributes",
    "PrefixId",
    "PrefixSid",
    "Protocol",
    "decode_update",
]
