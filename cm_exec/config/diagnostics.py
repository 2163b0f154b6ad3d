"""What is wrong with a cm.toml, in words."""

import re
from typing import Final

from msgspec import Struct, field

from cm_exec.errors import Problem
from cm_exec.text import quoted

KeyPath = tuple[str | int, ...]
"""Where a value stands, such as ("functions", "thumbnail", "command", 1)."""


class Findings(Struct):
    """The problems found so far, while a file is read."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, at: KeyPath, message: str) -> None:
        """Note what is wrong at a place."""
        self.problems.append(Problem(key=dotted(at), message=message))


_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST: Final = 60
_HUGE: Final = 10**30


def dotted(at: KeyPath) -> str:
    """The key as TOML writes it, with quotes where they are needed: `functions."a b".command[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in at).removeprefix(".")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) and len(name) <= _LONGEST else quoted(name)


def found(value: object, *, private: bool = False) -> str:
    """A value as an error shows it; what kind of value it is where it may hold a secret or is long."""
    match value:
        case str() if value and not private:
            return quoted(value)
        case bool() if not private:
            return str(value).lower()
        case float() if not private:
            return str(value)
        case int() if not private and abs(value) <= _HUGE:
            return str(value)
        case _:
            return _kind(value)


def _kind(value: object) -> str:  # noqa: PLR0911 - one return a type of TOML
    match value:
        case str():
            return _kind_of_string(value)
        case bool():
            return "a boolean"
        case int():
            return "an integer" if abs(value) <= _HUGE else "a huge integer"
        case float():
            return "a number"
        case list():
            return "an array" if value else "an empty array"
        case dict():
            return "a table" if value else "an empty table"
        case _:
            return "a date or time"


def _kind_of_string(text: str) -> str:
    if not text.strip():
        return "a blank string" if text else "an empty string"
    return "a string with NUL" if "\0" in text else "a string"
