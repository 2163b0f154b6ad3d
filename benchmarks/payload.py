"""The queries of the benchmark, each different, and the check of their echoes."""

import json
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["text", "records"]

_SERIAL_DIGITS: Final = 9
_RECORD: Final = {"id": 4711, "x": 0.125, "name": "north-west", "ok": True, "tags": ["a", "b"]}


@dataclass(frozen=True)
class Payload:
    """Queries of `size` bytes.

    `text` is one long JSON string, the cheapest JSON of its size, such as a base64 image; `records` is a list of small
    objects, such as a table.
    """

    size: int
    kind: Kind = "text"
    _spaced: tuple[bytes, bytes] = field(init=False, repr=False)
    _compact: tuple[bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        value = self._value()
        object.__setattr__(self, "_spaced", _around_serial(json.dumps(value)))
        object.__setattr__(self, "_compact", _around_serial(json.dumps(value, separators=(",", ":"))))

    def query(self, serial: int) -> tuple[bytes, bytes, bytes]:
        """Return the JSON text of the query with this number, spaced as by Python's json.dumps, in three parts."""
        before, after = self._spaced
        return before, b"%09d" % serial, after

    def is_echo(self, serial: int, result: bytes | bytearray) -> bool:
        """Return whether a result is the query: the same bytes, or without spaces as by JSON.stringify."""
        return _frames(result, serial, self._spaced) or _frames(result, serial, self._compact)

    def _value(self) -> dict[str, object]:
        serial = "0" * _SERIAL_DIGITS
        if self.kind == "records":
            empty = {"serial": serial, "rows": [], "pad": ""}
            room = self.size - len(json.dumps(empty))
            rows = [_RECORD] * (room // (len(json.dumps(_RECORD)) + 2))
            pad = self.size - len(json.dumps({"serial": serial, "rows": rows, "pad": ""}))
            return {"serial": serial, "rows": rows, "pad": "x" * pad}
        pad = self.size - len(json.dumps({"serial": serial, "text": ""}))
        if pad < 0:
            raise ValueError(f"a query has at least {self.size - pad} bytes")
        return {"serial": serial, "text": "x" * pad}


def _around_serial(text: str) -> tuple[bytes, bytes]:
    before, _, after = text.encode().partition(b'"' + b"0" * _SERIAL_DIGITS + b'"')
    return before + b'"', b'"' + after


def _frames(result: bytes | bytearray, serial: int, around: tuple[bytes, bytes]) -> bool:
    before, after = around
    return (
        len(result) == len(before) + _SERIAL_DIGITS + len(after)
        and result.startswith(b"%b%09d" % (before, serial))
        and result.endswith(after)
    )
