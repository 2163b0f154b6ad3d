"""Ranges of inputs: what is in them, and how they are published."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cm_exec.protocol.function_schema import Range

DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        (Range(kind="integer", min=1, max=3), [1, 3], [0, 4]),
        (Range(kind="long", min=-5), [-5, "-5", "9007199254740993"], [-6, "-6"]),
        (Range(kind="double", max=0.5), [0.5, -1, "-Infinity"], [0.51, 1, "Infinity", "NaN"]),
        (Range(kind="float", min=0), [0, 1e300, "Infinity"], [-0.1, "NaN", "-Infinity"]),
        (Range(kind="decimal", min=Decimal("0.10"), max=Decimal("99.9")), ["0.1", "99.900", "1e1"], ["0.09", "99.91"]),
        (Range(kind="date", min=DAY, max=DAY), ["2024-02-29"], ["2024-02-28", "2024-03-01"]),
        (
            Range(kind="timestamp", min=NOON),
            ["2024-02-29T10:00:00Z", "2024-02-29T11:00:00+01:00", 1709200800000, 8640000000000000],
            ["2024-02-29T09:59:59.999Z", 1709200799999, -8640000000000000],
        ),
    ],
)
def test_both_ends_are_inside(range_: Range, inside: list[Any], outside: list[Any]) -> None:
    assert [value for value in inside if not range_.holds(value)] == []
    assert [value for value in outside if range_.holds(value)] == []


@pytest.mark.parametrize(
    ("range_", "json", "words"),
    [
        (Range(kind="integer", min=1), b'{"type":"integer","integer":{"min":1}}', "from 1"),
        (Range(kind="float", min=0.5, max=1), b'{"type":"float","float":{"min":0.5,"max":1}}', "from 0.5 to 1"),
        (Range(kind="decimal", max=Decimal("1E-3")), b'{"type":"decimal","decimal":{"max":0.001}}', "up to 0.001"),
        (Range(kind="date", max=DAY), b'{"type":"date","date":{"max":"2024-02-29"}}', "up to 2024-02-29"),
        (
            Range(kind="timestamp", min=NOON),
            b'{"type":"timestamp","timestamp":{"min":"2024-02-29T10:00:00Z"}}',
            "from 2024-02-29T10:00:00Z",
        ),
    ],
)
def test_a_range_is_the_protocols_constraint(range_: Range, json: bytes, words: str) -> None:
    assert msgspec.json.encode(range_.json()) == json
    assert range_.describe() == words
