"""The lines of a cm.toml on which its keys are."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import tomli

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
