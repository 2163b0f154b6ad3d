"""What a type of `tables` takes, read from its annotations."""

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from cm_exec.text import quoted


class Expectation(Struct, frozen=True, kw_only=True):
    """What a key takes: in words, and where it takes only certain strings these.

    `item` is the type of an array's items, `entry` those of a table's keys and values; None where the key takes no
    array, no table. A private key's value may hold a secret. `unless_said` is what holds where a key without a default
    is left out, empty where nothing is said of that.
    """

    words: str
    private: bool
    choices: tuple[str, ...]
    item: Any
    entry: tuple[Any, Any] | None
    unless_said: str = ""


def expectation(expected: Any) -> Expectation:
    """Read a type of `tables`. Raises KeyError for a type without words, which is a mistake in `tables`."""
    alternatives = [_plain(arm) for arm in _arms(expected)]
    extra = _extra(expected)
    choices = next(filter(None, map(_choices, alternatives)), ())
    return Expectation(
        words=_either(choices) if choices else extra["expected"],
        private=extra.get("private", False),
        choices=choices,
        item=next((get_args(arm)[0] for arm in alternatives if get_origin(arm) is tuple), None),
        entry=next((_pair(arm) for arm in alternatives if get_origin(arm) is Mapping), None),
        unless_said=extra.get("unless_said", ""),
    )


def converted(value: object, expected: Any) -> Any:
    """The value as a type of `tables` has it. Raises ValueError where it does not fit.

    msgspec gets each alternative for itself: of a string with a pattern or else an array or table it reads the
    pattern from the wrong place and crashes (0.22.0).
    """
    for alternative in _arms(expected):
        try:
            return msgspec.convert(value, alternative)
        except (msgspec.ValidationError, SystemError):  # SystemError: 10**400 as a float, before msgspec 0.22
            continue
    raise ValueError("no alternative fits")


def _pair(mapping: Any) -> tuple[Any, Any]:
    key, value = get_args(mapping)
    return key, value


def _choices(alternative: Any) -> tuple[str, ...]:
    """The strings that are taken, where only certain ones are."""
    values = get_args(alternative) if get_origin(alternative) is Literal else ()
    return tuple(value for value in values if isinstance(value, str))


def _plain(expected: Any) -> Any:
    return get_args(expected)[0] if get_origin(expected) is Annotated else expected


def _arms(expected: Any) -> list[Any]:
    """The alternatives of a type, without the mark of a key that may be left out."""
    plain = _plain(expected)
    if get_origin(plain) not in {Union, UnionType}:
        return [expected]
    return [inner for arm in get_args(plain) if arm is not UnsetType for inner in _arms(arm)]


def _extra(expected: Any) -> dict[str, Any]:
    """The words are on the type itself, or on the only alternative to leaving the key out; the outer ones count."""
    candidates = [expected, *(arm for arm in get_args(expected) if arm is not UnsetType)]
    metas = [meta for c in candidates if get_origin(c) is Annotated for meta in c.__metadata__]
    extras = [meta.extra for meta in metas if isinstance(meta, Meta) and meta.extra]
    return {key: value for extra in extras for key, value in extra.items()}


def _either(choices: tuple[str, ...]) -> str:
    *most, last = map(quoted, choices)
    return f"{', '.join(most)} or {last}"
