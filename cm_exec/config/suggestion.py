"""The right value that was most likely meant by a wrong one."""

import re
from collections.abc import Iterator
from typing import Any, Final

import tomli

from cm_exec.config.diagnostics import found
from cm_exec.config.schema.key_spec import Expectation, converted
from cm_exec.text import closest_match, quoted

_LONGEST: Final = 80
_SIZE: Final = re.compile(r"\s*(\d+)\s*([kmg])(?:i?b)?\s*", re.IGNORECASE)
_SECONDS: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?)\s*", re.IGNORECASE)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def right_value(value: object, expected: Any, expectation: Expectation) -> str | None:
    """What was most likely meant, as TOML writes it. It always fits `expected`; None where nothing likely does."""
    for toml in _candidates(value, expectation):
        if len(toml) <= _LONGEST and _fits(toml, expected):
            return toml
    return None


def _candidates(value: object, expectation: Expectation) -> Iterator[str]:
    match value:
        case str():
            yield from _for_text(value, expectation)
        case bool():
            yield quoted(str(value).lower())
        case float() if value.is_integer():
            yield f"{value:.0f}"
        case int():
            yield quoted(found(value))


def _for_text(text: str, expectation: Expectation) -> Iterator[str]:
    choice = closest_match(text, expectation.choices)
    if choice:
        yield quoted(choice)
    if size := _SIZE.fullmatch(text):
        yield quoted(f"{size[1]}{size[2].upper()}iB")
    if seconds := _SECONDS.fullmatch(text):
        yield f"{float(seconds[1]) * _UNIT_SECONDS[seconds[2][0].lower()]:g}"
    yield text.strip()
    yield text.strip().lower()
    if expectation.item is not None:
        yield f"[{', '.join(map(quoted, text.replace(',', ' ').split()))}]"


def _fits(toml: str, expected: Any) -> bool:
    try:
        converted(tomli.loads(f"value = {toml}")["value"], expected)
    except (ValueError, RecursionError):
        return False
    return True
