"""Octets of a BMP session as they come -> whole messages (RFC 7854 §4.1)."""

from __future__ import annotations

from neto.errors import WireError

_HEADER = 6  # version, length, type
_VERSION = 3
LARGEST = 1 << 18  # octets: two extended BGP messages (RFC 8654) and what goes with them; more is no message


class BmpStream:
    """Cuts a stream into messages. Holds one unfinished message at most."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def waits(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the messages that are whole now: type, and what follows the common header.

        Raises WireError when it is not BMP version 3, or a message is larger than any can be: where the next one
        begins is not known then, and the session is of no more use.
        """
        rest = self._rest
        rest += data
        messages: list[tuple[int, bytes]] = []
        at, end = 0, len(rest)
        while at < end:
            if rest[at] != _VERSION:
                raise WireError(f"BMP version {rest[at]}; accepted: {_VERSION}")
            if at + _HEADER > end:
                break
            length = int.from_bytes(rest[at + 1 : at + 5], "big")
            if not _HEADER <= length <= LARGEST:
                raise WireError(f"BMP message of {length} octets; accepted: {_HEADER} to {LARGEST}")
            if at + length > end:
                break
            messages.append((rest[at + 5], bytes(rest[at + _HEADER : at + length])))
            at += length
        del rest[:at]
        return messages
