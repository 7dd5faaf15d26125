"""Bodies at rest: zstd-compressed JSON with a checksum. Meant for a thread: none of this is quick."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import zstandard

from neto.errors import StoreError
from neto.store.codec import encode

_LEVEL = 3  # the library's default: beyond it the time grows faster than what is saved
_DIGEST_BYTES = 16


class Sealed(NamedTuple):
    """A body as it is stored."""

    body: bytes
    digest: bytes  # BLAKE2b-128 of `body`


def seal(value: object) -> Sealed:
    """Encode and compress."""
    body = zstandard.ZstdCompressor(level=_LEVEL).compress(encode(value))
    return Sealed(body, _digest(body))


def unseal(sealed: Sealed, name: str) -> bytes:
    """Return the JSON. Raises StoreError, with the body's name, when it is not what was stored."""
    if _digest(sealed.body) != sealed.digest:
        raise StoreError(f"{name} is damaged: its checksum is wrong")
    try:
        return zstandard.ZstdDecompressor().decompress(sealed.body)
    except zstandard.ZstdError as error:
        raise StoreError(f"{name} is damaged: {error}") from error


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
