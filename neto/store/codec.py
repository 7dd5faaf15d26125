"""Nouns <-> JSON, faithfully: what is decoded equals what was encoded, so that a stored cycle can be replayed.

The type says how a value is written, and the same type reads it:

    dataclass                 object, by field name; in a union of dataclasses with its "type" as well
    mapping                   object where the keys are strings, else a list of [key, value]
    tuple, list, frozenset    list (sets sorted, so that equal values have equal text)
    numpy array               {"dtype", "shape", "base64"}: the array's bytes, row by row
    float                     number; "inf", "-inf" and "nan", which JSON lacks, as text
    address, network, time    text
    enum                      its value

Cached properties of a dataclass are not written: they are worked out anew.
"""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import functools
import ipaddress
import math
import types
import typing
from collections.abc import Callable, Hashable
from datetime import time
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from neto.errors import StoreError

T = TypeVar("T")
Convert = Callable[[Any], Any]
_NETWORKS: set[Any] = {ipaddress.IPv4Network, ipaddress.IPv6Network}
_ADDRESSES: set[Any] = {ipaddress.IPv4Address, ipaddress.IPv6Address}
_PLAIN: set[Any] = {str, int, bool, type(None)}


class _Form(NamedTuple):
    """How values of one type are written and read; None: as they are."""

    pack: Convert | None = None
    unpack: Convert | None = None


def encode(value: object, kind: Any = None) -> bytes:
    """Return `value` as JSON. bytes are JSON already and stay as they are.

    kind: how to write it, where that is not plainly type(value). A value that is no dataclass may be given without:
    text, numbers, lists and dicts of such.
    """
    if isinstance(value, bytes):
        return value
    if kind is None and not dataclasses.is_dataclass(value):
        return msgspec.json.encode(value)
    written: Any = kind or type(value)
    pack = _form(written).pack
    return msgspec.json.encode(pack(value) if pack else value)


def decode(body: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` that was encoded as `body`.

    A field that is not there takes its default, so a body outlives a field that was added later.
    Raises StoreError when the text is no JSON, or not of this type.
    """
    written: Any = kind
    try:
        plain = msgspec.json.decode(body)
        unpack = _form(written).unpack
        return typing.cast("T", unpack(plain) if unpack else plain)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"not a {kind.__name__}: {error}") from error


@functools.cache
def _form(kind: Hashable) -> _Form:
    """Find how `kind` is written. Raises TypeError for a type that no noun of ours uses."""
    origin: Any = typing.get_origin(kind) or kind
    if origin in {typing.Union, types.UnionType}:
        return _union(frozenset(typing.get_args(kind)) - {type(None)})
    if kind in _PLAIN or kind in {Any, object}:
        return _Form()
    for family, form in _LEAVES.items():
        if issubclass(origin, family):
            return form(origin)
    return _dataclass(origin) if dataclasses.is_dataclass(origin) else _collection(origin, typing.get_args(kind))


def _pack_float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _pack_array(array: Any) -> dict[str, object]:
    if array.dtype.hasobject:
        raise TypeError("an array of objects cannot be stored")
    text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": text}


def _unpack_array(plain: dict[str, Any]) -> Any:
    flat = np.frombuffer(base64.b64decode(plain["base64"], validate=True), np.dtype(plain["dtype"]))
    return flat.reshape(plain["shape"]).copy()  # frombuffer's is read-only, which compiled kernels tell apart


_LEAVES: dict[type, Callable[[Any], _Form]] = {
    float: lambda _: _Form(_pack_float, float),
    time: lambda _: _Form(time.isoformat, time.fromisoformat),
    np.ndarray: lambda _: _Form(_pack_array, _unpack_array),
    Enum: lambda kind: _Form(lambda member: member.value, kind),
    **dict.fromkeys(_NETWORKS | _ADDRESSES, lambda kind: _Form(str, kind)),
}


def _union(kinds: frozenset[Any]) -> _Form:
    """Form of a value of one of several types, or of one type or None."""
    if kinds <= _PLAIN:
        return _Form()
    if kinds == _NETWORKS:
        return _nullable(_Form(str, ipaddress.ip_network))
    if kinds == _ADDRESSES:
        return _nullable(_Form(str, ipaddress.ip_address))
    if len(kinds) == 1:
        return _nullable(_form(next(iter(kinds))))
    if not all(dataclasses.is_dataclass(kind) for kind in kinds):
        raise TypeError(f"cannot tell these apart in JSON: {sorted(map(str, kinds))}")
    by_name = {kind.__name__: _form(kind) for kind in kinds}

    def pack(value: Any) -> dict[str, Any]:
        name = type(value).__name__
        convert = by_name[name].pack
        assert convert is not None  # noqa: S101 - a dataclass always has one
        return {"type": name, **convert(value)}

    def unpack(plain: dict[str, Any]) -> Any:
        convert = by_name[plain["type"]].unpack
        assert convert is not None  # noqa: S101 - as above
        return convert({name: value for name, value in plain.items() if name != "type"})

    return _nullable(_Form(pack, unpack))


def _nullable(form: _Form) -> _Form:
    def optional(convert: Convert | None) -> Convert | None:
        return convert and (lambda value: None if value is None else convert(value))

    return _Form(optional(form.pack), optional(form.unpack))


def _dataclass(kind: Any) -> _Form:
    hints = typing.get_type_hints(kind)
    forms = {field.name: _form(hints[field.name]) for field in dataclasses.fields(kind)}

    def pack(value: Any) -> dict[str, Any]:
        return {
            name: form.pack(getattr(value, name)) if form.pack else getattr(value, name) for name, form in forms.items()
        }

    def unpack(plain: dict[str, Any]) -> Any:
        if unknown := sorted(plain.keys() - forms.keys()):
            raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
        read = {name: forms[name].unpack for name in plain}
        return kind(**{name: convert(plain[name]) if convert else plain[name] for name, convert in read.items()})

    return _Form(pack, unpack)


def _collection(origin: Any, arguments: tuple[Any, ...]) -> _Form:
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not ...):  # noqa: PLR2004 - (item, ...)
        return _row([_form(argument) for argument in arguments])
    if issubclass(origin, collections.abc.Mapping):
        return _mapping(*arguments)
    item = _form(arguments[0])
    pack, unpack = item.pack or _same, item.unpack or _same
    if issubclass(origin, collections.abc.Set):
        return _Form(
            lambda values: [pack(value) for value in sorted(values)],
            lambda plain: frozenset(unpack(value) for value in plain),
        )
    if issubclass(origin, collections.abc.Sequence):
        return _Form(
            lambda values: [pack(value) for value in values],
            lambda plain: (list if origin is list else tuple)(unpack(value) for value in plain),
        )
    raise TypeError(f"{origin} has no form in the store")


def _row(forms: list[_Form]) -> _Form:
    return _Form(
        lambda values: [(form.pack or _same)(value) for form, value in zip(forms, values, strict=True)],
        lambda plain: tuple((form.unpack or _same)(value) for form, value in zip(forms, plain, strict=True)),
    )


def _mapping(key_kind: Any, value_kind: Any) -> _Form:
    key, value = _form(key_kind), _form(value_kind)
    pack, unpack = value.pack or _same, value.unpack or _same
    if key_kind is str:
        return _Form(
            lambda items: {name: pack(each) for name, each in items.items()},
            lambda plain: {name: unpack(each) for name, each in plain.items()},
        )
    pack_key, unpack_key = key.pack or _same, key.unpack or _same
    return _Form(
        lambda items: [[pack_key(name), pack(each)] for name, each in items.items()],
        lambda plain: {unpack_key(name): unpack(each) for name, each in plain},
    )


def _same(value: Any) -> Any:
    return value
