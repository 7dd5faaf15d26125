"""BMP version 3 (RFC 7854, RFC 8671, RFC 9069): what a router tells of its BGP sessions. Sans-IO.

stream.py    octets as they come -> whole messages.
session.py   messages of one router, in order -> what they say; knows what each peer negotiated.
messages.py  what there is to be said.
"""

from neto.wire.bmp.messages import (
    Initiation,
    Message,
    Peer,
    PeerDown,
    PeerKind,
    PeerUp,
    RouteMirroring,
    RouteMonitoring,
    Statistics,
    Termination,
    Unknown,
    View,
)
from neto.wire.bmp.session import BmpSession
from neto.wire.bmp.stream import BmpStream

__all__ = [
    "BmpSession",
    "BmpStream",
    "Initiation",
    "Message",
    "Peer",
    "PeerDown",
    "PeerKind",
    "PeerUp",
    "RouteMirroring",
    "RouteMonitoring",
    "Statistics",
    "Termination",
    "Unknown",
    "View",
]
