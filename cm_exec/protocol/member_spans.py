r"""The members of a JSON object by their places, for what msgspec refuses: half a surrogate pair (`"\ud83d"`)."""

import json
import re
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.scanner import make_scanner
from typing import Any, Final

_decoder: Final = json.JSONDecoder(parse_int=str, parse_float=str)  # digits are not limited then
_scan_value: Final[Callable[[str, int], tuple[Any, int]]] = make_scanner(_decoder)  # type: ignore[arg-type]
_space: Final = re.compile(r"[ \t\n\r]*")


def member_spans(text: str, at: int = 0) -> dict[str, tuple[int, int]]:
    """Where each member's value starts and ends, of the object that starts at `at`; what follows it is not read.

    Raises ValueError, LookupError or RecursionError where there is no such object.
    """

    def skip(position: int, expected: str = "") -> int:
        position = _skip_space(text, position)
        if not text.startswith(expected, position):
            raise ValueError(expected)
        return position + len(expected)

    spans: dict[str, tuple[int, int]] = {}
    at = skip(skip(at, "{"))
    while not text.startswith("}", at):
        name, at = scanstring(text, skip(at, '"'), True)
        start = skip(skip(at, ":"))
        _, end = _scan(text, start)
        spans[name] = (start, end)
        at = skip(end)
        if not text.startswith("}", at):
            at = skip(skip(at, ","))
            if text.startswith("}", at):
                raise ValueError("trailing comma")
    return spans


def _skip_space(text: str, position: int) -> int:
    match = _space.match(text, position)
    return match.end() if match else position


def _scan(text: str, start: int) -> tuple[Any, int]:
    try:
        return _scan_value(text, start)
    except StopIteration:
        raise ValueError("no value") from None
