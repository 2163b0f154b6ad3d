"""TOML text: values and keys on one line, and the lines of a file on which its keys are."""

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import tomli

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """Return a name as a TOML key, in quotes if it needs them."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def toml_value(value: object) -> str:
    """Return a value as TOML. Raises TypeError for a value that TOML cannot express, such as None."""
    match value:
        case bool() | str():  # JSON's strings are TOML's, except for one control character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return str(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            pairs = ", ".join(f"{toml_key(str(name))} = {toml_value(inner)}" for name, inner in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__}")


_NAME: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*"
_TABLE: Final = re.compile(rf"\s*\[{_KEY}\]")
_ARRAY_TABLE: Final = re.compile(rf"\s*\[\[{_KEY}\]\]")
_VALUE: Final = re.compile(rf"{_KEY}=")
_MULTI_LINE: Final = ('"""', "'''")

Place = tuple[str | int, ...]


class LineIndex:
    """Finds keys in a text that is valid TOML."""

    def __init__(self, text: str) -> None:
        self._text = text

    def find(self, at: Place) -> int | None:
        """Return the line of a key, or of the nearest table or value around it; None for the whole file."""
        while at:
            if at in self._lines:
                return self._lines[at]
            at = at[:-1]
        return None

    @cached_property
    def _lines(self) -> dict[Place, int]:
        lines: dict[Place, int] = {}
        for place, line in _places(self._text):
            for end in range(1, len(place) + 1):
                lines.setdefault(place[:end], line)
        return lines


def _places(text: str) -> Iterator[tuple[Place, int]]:
    """Yield each table and key with its line."""
    counts: dict[Place, int] = {}
    table: Place = ()
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if closing:  # inside of a text of several lines
            closing = "" if closing in line else closing
        elif match := _ARRAY_TABLE.match(line):
            name = _resolved(_names(match[1]), counts)
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            yield table, number
        elif match := _TABLE.match(line):
            table = _resolved(_names(match[1]), counts)
            yield table, number
        elif match := _VALUE.match(line):
            yield (*table, *_names(match[1])), number
            value = line[match.end() :].lstrip()
            closing = next((mark for mark in _MULTI_LINE if value.startswith(mark) and value.count(mark) == 1), "")


def _names(key: str) -> tuple[str, ...]:
    """Return the parts of a dotted key."""
    inner: Any = tomli.loads(f"{key} = 0")
    names = []
    while isinstance(inner, dict):
        ((name, inner),) = inner.items()
        names.append(name)
    return tuple(names)


def _resolved(names: tuple[str, ...], counts: dict[Place, int]) -> Place:
    """Insert the index of the last element after each array of tables in the path, except at its end."""
    place: Place = ()
    for position, name in enumerate(names):
        place = (*place, name)
        if place in counts and position < len(names) - 1:
            place = (*place, counts[place])
    return place
