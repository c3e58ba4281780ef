"""Frozen dataclasses whose fields have the types that their annotations say, also when the values come from a file."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache
from numbers import Integral
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from .errors import AlloyError

__all__ = ["check_types", "from_values"]

T = TypeVar("T")
WORDS = {int: "an integer", float: "a number with a point", str: "text", bool: "true or false", NoneType: "nothing"}


def check_types(record: Any, what: str) -> None:
    """Raise :class:`AlloyError` for the first field that is not what its annotation says; an integer of NumPy becomes a
    plain one.

    A bool is no integer and a float never is. ``what`` the record is starts the sentence.
    """
    for name, annotation in _hints(type(record)).items():
        value = getattr(record, name)
        if not _fits(value, annotation):
            raise AlloyError(f"{what} {name} is {_shown(value)}: it must be {_words(annotation)}")
        if annotation is int and type(value) is not int:
            object.__setattr__(record, name, int(value))


def from_values(cls: type[T], values: Any, what: str) -> T:
    """A dataclass from a mapping that was read from a file; a list stands for a tuple. Unknown and missing keys are
    :class:`AlloyError`."""
    if not isinstance(values, dict):
        raise AlloyError(f"{what} is {_shown(values)}: it must be an object with one key for each field")
    known = {f.name: f for f in fields(cast(Any, cls))}
    for key in values:
        if key not in known:
            raise AlloyError(f"{what} has the unknown key {key!r}: known keys are {', '.join(sorted(known))}")
    needed = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise AlloyError(f"{what} is not complete: it has no {', '.join(missing)}")
    annotations = _hints(cls)
    return cls(**{name: _tuples(value, annotations[name]) for name, value in values.items()})


_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def _tuples(value, annotation):
    """``value`` with tuples for the lists where its ``annotation`` says so."""
    if not isinstance(value, list):
        return value
    annotation = next((part for part in (annotation, *get_args(annotation)) if get_origin(part) is tuple), None)
    if annotation is None:
        return value
    parts = get_args(annotation)
    parts = parts[:1] * len(value) if parts[1:] == (...,) else parts
    return tuple(map(_tuples, value, parts)) if len(parts) == len(value) else tuple(value)


@cache
def _parts(annotation):
    """(origin, arguments) of an annotation: typing takes its time for them."""
    return get_origin(annotation), get_args(annotation)


def _fits(value, annotation):
    if annotation is int and type(value) is int:
        return True
    origin, parts = _parts(annotation)
    if origin is tuple:
        if parts[1:] == (...,):
            return isinstance(value, tuple) and all(_fits(one, parts[0]) for one in value)
        if not isinstance(value, tuple) or len(value) != len(parts):
            return False
        return {*parts, *map(type, value)} == {int} or all(map(_fits, value, parts))
    if parts:
        return any(_fits(value, part) for part in parts)
    if annotation is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _words(annotation):
    parts = get_args(annotation)
    if get_origin(annotation) is tuple:
        many, inner = parts[1:] == (...,), get_origin(parts[0]) is tuple
        return ("a list of " + ("" if many else f"{len(parts)} ")
                + ("lists, each " + _words(parts[0]) if inner else "integers"))
    if parts:
        return " or ".join(map(_words, parts))
    return WORDS.get(annotation, f"of type {annotation.__name__}")


def _shown(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
