"""A value of TOML as JSON."""

import json
import math
from collections.abc import Iterator
from typing import Final

from cm_exec.config.diagnostics import Findings, KeyPath, found
from cm_exec.config.schema import JSON_WORDS
from cm_exec.text import quoted

_DEEPEST: Final = 100
_MOST_BITS: Final = 13_000
"""Python writes no longer integer out: it has 4300 digits at most."""


def read_json(value: object, at: KeyPath, findings: Findings) -> bytes | None:
    """JSON text; None for what JSON has no word for, which is in the findings then."""
    wrong = list(_foreign(value, ()))
    for inside, message in wrong:
        findings.add((*at, *inside), message)
    return None if wrong else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _foreign(value: object, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """What JSON does not have, and where."""
    if len(at) > _DEEPEST:
        yield at[:1], f"nested more than {_DEEPEST} deep"
        return
    match value:
        case dict():
            for name, inner in value.items():
                yield from _foreign(inner, (*at, name))
        case list():
            for index, inner in enumerate(value):
                yield from _foreign(inner, (*at, index))
        case str() | bool():
            return
        case float() if math.isfinite(value):
            return
        case int() if value.bit_length() <= _MOST_BITS:
            return
        case float() | int():
            yield at, f"expected {JSON_WORDS}, found {found(value)}"
        case _:
            yield at, f"expected {JSON_WORDS}, found {found(value)}; did you mean {quoted(_iso(value))}?"


def _iso(value: object) -> str:
    """A date or time as text."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
