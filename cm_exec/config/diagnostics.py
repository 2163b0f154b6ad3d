"""Diagnostics of a cm.toml: what is wrong, where, and what was probably meant."""

import re
from collections.abc import Iterator
from typing import Any, Final

import tomli
from msgspec import Struct, field

from cm_exec.config.lines import LineIndex
from cm_exec.config.schema.key_spec import KeySpec, converted
from cm_exec.config.toml import toml_key
from cm_exec.errors import Problem
from cm_exec.text import closest_match, quoted

KeyPath = tuple[str | int, ...]
"""The place of a value, such as ("functions", "thumbnail", "command", 1)."""

_LONGEST_NAME: Final = 60
_LARGEST_SHOWN: Final = 10**30
_LONGEST_SUGGESTION: Final = 80


class Diagnostics(Struct):
    """The problems found so far, while a file is read. `lines` finds the line of each."""

    lines: LineIndex
    problems: list[Problem] = field(default_factory=list)

    def add(self, at: KeyPath, message: str) -> None:
        """Record a problem with its place."""
        self.problems.append(Problem(key=dotted(at), message=message, line=self.lines.find(at)))


def dotted(at: KeyPath) -> str:
    """Return the key as TOML writes it, with quotes if they are needed: `functions."a b".command[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in at).removeprefix(".")


def _key(name: str) -> str:
    return toml_key(name) if len(name) <= _LONGEST_NAME else quoted(name)


def describe(value: object, *, private: bool = False) -> str:
    """Return a value as an error shows it; only its kind if it may be a secret or is long."""
    match value:
        case str() if value and not private:
            return quoted(value)
        case bool() if not private:
            return str(value).lower()
        case float() if not private:
            return str(value)
        case int() if not private and abs(value) <= _LARGEST_SHOWN:
            return str(value)
        case _:
            return _kind(value)


def _kind(value: object) -> str:  # noqa: PLR0911 - one return per type of TOML
    match value:
        case str():
            if not value.strip():
                return "a blank string" if value else "an empty string"
            return "a string with NUL" if "\0" in value else "a string"
        case bool():
            return "a boolean"
        case int():
            return "an integer" if abs(value) <= _LARGEST_SHOWN else "a huge integer"
        case float():
            return "a number"
        case list():
            return "an array" if value else "an empty array"
        case dict():
            return "a table" if value else "an empty table"
        case _:
            return "a date or time"


_SIZE: Final = re.compile(r"\s*(\d+)\s*([kmg])(?:i?b)?\s*", re.IGNORECASE)
_SECONDS: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?)\s*", re.IGNORECASE)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_REQUEST: Final = re.compile(r"\s*(get|post|put|patch|delete)\s+/?(\S*)\s*", re.IGNORECASE)


def suggest_value(value: object, expected: Any, spec: KeySpec) -> str | None:
    """Return the value that was probably meant, in TOML; None if nothing similar fits the type `expected`."""
    for toml in _candidates(value, spec):
        if len(toml) <= _LONGEST_SUGGESTION and _fits(toml, expected):
            return toml
    return None


def _candidates(value: object, spec: KeySpec) -> Iterator[str]:
    match value:
        case str():
            yield from _candidates_for_text(value, spec)
        case bool():
            yield quoted(str(value).lower())
        case float() if value.is_integer():
            yield f"{value:.0f}"
        case int():
            yield quoted(describe(value))


def _candidates_for_text(text: str, spec: KeySpec) -> Iterator[str]:
    if choice := closest_match(text, spec.choices):
        yield quoted(choice)
    if size := _SIZE.fullmatch(text):
        yield quoted(f"{size[1]}{size[2].upper()}iB")
    if seconds := _SECONDS.fullmatch(text):
        yield f"{float(seconds[1]) * _UNIT_SECONDS[seconds[2][0].lower()]:g}"
    yield text.strip()
    yield text.strip().lower()
    if request := _REQUEST.fullmatch(text):
        yield quoted(f"{request[1].upper()} /{request[2]}")
    yield quoted(re.sub(r"^https?://[^:/]*", "http://127.0.0.1", text))
    if spec.item is not None:
        yield f"[{', '.join(map(quoted, text.replace(',', ' ').split()))}]"


def _fits(toml: str, expected: Any) -> bool:
    try:
        converted(tomli.loads(f"value = {toml}")["value"], expected)
    except (ValueError, RecursionError):
        return False
    return True
