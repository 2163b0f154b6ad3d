"""What a key of cm.toml accepts, read from the annotations of its type."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from cm_exec.text import quoted


class KeySpec(Struct, frozen=True, kw_only=True):
    """What a key accepts: in words, and if it accepts only certain strings, these.

    `types` are the plain types of its alternatives. `item` is the type of an array's items and `entry` the types of a
    table's keys and values, None if the key accepts no array or no table. The value of a `private` key may be a secret.
    `title`, `description` and `examples` are its documentation. `default_text` describes the default of a key whose
    default is no fixed value; it is empty for other keys.
    """

    words: str
    types: tuple[Any, ...]
    private: bool
    choices: tuple[str, ...]
    item: Any
    entry: tuple[Any, Any] | None
    title: str
    description: str
    examples: tuple[Any, ...]
    default_text: str


def key_spec(expected: Any) -> KeySpec:
    """Read the type of a key. Raises KeyError for a type without a hint, which is a bug in the schema."""
    alternatives = [_plain(arm) for arm in _arms(expected)]
    metas = _metas(expected)
    extra = {key: value for meta in metas for key, value in (meta.extra or {}).items()}
    choices = next(filter(None, map(_choices, alternatives)), ())
    return KeySpec(
        words=extra.get("expected") or _either(choices) if choices else extra["expected"],
        types=tuple(alternatives),
        private=extra.get("private", False),
        choices=choices,
        item=next((get_args(arm)[0] for arm in alternatives if get_origin(arm) is tuple), None),
        entry=next((_pair(arm) for arm in alternatives if get_origin(arm) is Mapping), None),
        title=next((meta.title for meta in reversed(metas) if meta.title), ""),
        description=next((meta.description for meta in reversed(metas) if meta.description), ""),
        examples=next((tuple(meta.examples) for meta in reversed(metas) if meta.examples), ()),
        default_text=extra.get("default_text", ""),
    )


def converted(value: object, expected: Any) -> Any:
    """Convert a value to the type of its key. Raises ValueError if it does not fit.

    msgspec gets one alternative at a time: for the union of a string with a pattern and an array or table it reads the
    pattern from the wrong place and crashes (0.22.0).
    """
    for alternative in _arms(expected):
        try:
            result = msgspec.convert(value, alternative)
            patterns = [meta.extra["pattern"] for meta in _metas(alternative) if meta.extra and "pattern" in meta.extra]
            if all(re.search(pattern, result) for pattern in patterns):
                return result
        except (msgspec.ValidationError, SystemError):  # SystemError: 10**400 as a float, before msgspec 0.22
            continue
    raise ValueError("no alternative fits")


def _pair(mapping: Any) -> tuple[Any, Any]:
    key, value = get_args(mapping)
    return key, value


def _choices(alternative: Any) -> tuple[str, ...]:
    values = get_args(alternative) if get_origin(alternative) is Literal else ()
    return tuple(value for value in values if isinstance(value, str))


def _plain(expected: Any) -> Any:
    return get_args(expected)[0] if get_origin(expected) is Annotated else expected


def _arms(expected: Any) -> list[Any]:
    """Return the alternatives of a type, without the mark of an optional key."""
    plain = _plain(expected)
    if get_origin(plain) not in {Union, UnionType}:
        return [expected]
    return [inner for arm in get_args(plain) if arm is not UnsetType for inner in _arms(arm)]


def _metas(expected: Any) -> list[Meta]:
    """Return the annotations of a type, or else of its alternatives, the outermost last."""
    candidates = [expected, *(arm for arm in get_args(expected) if arm is not UnsetType)]
    metas = [meta for c in candidates if get_origin(c) is Annotated for meta in c.__metadata__]
    return [meta for meta in metas if isinstance(meta, Meta)]


def _either(choices: tuple[str, ...]) -> str:
    *most, last = map(quoted, choices)
    return f"{', '.join(most)} or {last}" if most else last
