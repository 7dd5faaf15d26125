"""BGP for unicast routes: messages that routers exchange or mirror -> routes and what is said of them. Sans-IO.

update.py      the body of an UPDATE in, `Update` out (RFC 4271, RFC 4760, RFC 7606, RFC 7911).
attributes.py  path attributes -> `Attributes`, read once for all routes that share them.
nlri.py        runs of prefixes <-> prefix keys: one integer for one prefix.
open.py        an OPEN -> what its sender can do.
"""

from neto.wire.bgp.attributes import AttributeReader, Attributes, Segment, SegmentKind
from neto.wire.bgp.nlri import Family, covering_keys, prefix_key, prefix_of
from neto.wire.bgp.open import AddPath, Open, decode_open
from neto.wire.bgp.update import Reach, Routes, Update, UpdateReader

__all__ = [
    "AddPath",
    "AttributeReader",
    "Attributes",
    "Family",
    "Open",
    "Reach",
    "Routes",
    "Segment",
    "SegmentKind",
    "Update",
    "UpdateReader",
    "covering_keys",
    "decode_open",
    "prefix_key",
    "prefix_of",
]
