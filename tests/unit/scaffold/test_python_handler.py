"""The handler for a Python function gives it what the official SDK would, and writes what it returns."""

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict

import pytest

from cm_exec.scaffold import TEMPLATES
from tests.support import official_sdks

FOLDER = TEMPLATES / "function"
SCRIPT = official_sdks.ROOT / "tests" / "support" / "sdk_payload.py"

EVENT = {
    "flag": True,
    "number": 1,
    "long": 2**40,
    "ratio": 2,
    "text": "ü",
    "data": "bytes ü",
    "day": "1969-07-20",
    "at": "1969-07-20T20:17:40Z",
    "later": "1969-07-20T20:17:40.25Z",
    "price": "12.50",
    "points": [{"x": 1}, {"x": 2.5, "label": "b"}],
    "names": ["a"],
    "by_number": {"7": {"x": 0}},
    "by_day": {"2024-02-29": "1"},
}


def test_event() -> None:
    """An event is what the official SDK makes of it."""
    python = official_sdks.python_command()[0]
    done = subprocess.run(
        [python, SCRIPT, FOLDER, json.dumps(EVENT)], capture_output=True, check=False, text=True, timeout=60
    )
    official, ours = done.stdout.splitlines()
    assert ours == official
    assert "datetime.datetime(1969, 7, 20, 20, 17, 40, 250000)" in ours


@pytest.fixture(scope="module")
def handler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cm_handler", FOLDER / "cm_handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    color: Color | None
    y: float = 0.0


class Options(TypedDict):
    size: int
    at: NotRequired[datetime]


class Level(IntEnum):
    NONE = 0
    HIGH = 2


@dataclass
class Sum:
    parts: list[int]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(self.parts)


class Pair(NamedTuple):
    x: int
    y: float = 0.5


class Model:
    """Like a model of pydantic, which can be iterated over its fields."""

    x: int = 3

    def __iter__(self) -> Iterator[tuple[str, int]]:
        yield "x", self.x


class Series:
    """Like a class of pandas: its hints are for type checkers only."""

    manager: "Nothing"  # type: ignore[name-defined]  # noqa: F821

    def __iter__(self) -> Iterator[int]:
        yield 1


Odd = NewType("Odd", Annotated[int, "odd"])

MOON = datetime(1969, 7, 20, 20, 17, 40)  # noqa: DTZ001 - in UTC, without a zone


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Point, {"x": 1}, Point(1.0, None)),
        (Point, {"x": 1, "color": "red", "y": 2}, Point(1.0, Color.RED, 2.0)),
        (Options, {"size": 1}, {"size": 1}),
        (Options, {"size": 1, "at": -14182940000}, {"size": 1, "at": MOON}),
        (Optional[datetime], "1969-07-20T22:17:40+02:00", MOON),  # noqa: UP045 - another class than X | None
        (datetime | None, None, None),
        (datetime, "1969-07-20T20:17:40.000000123Z", MOON),
        (list[Color], ["red"], [Color.RED]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (frozenset[str], ["a"], frozenset({"a"})),
        (dict[bool, int], {"true": 1, "false": 0}, {True: 1, False: 0}),
        (dict[Color, int], {"red": 1}, {Color.RED: 1}),
        (dict[Level, int], {"0": 1, "2": 3}, {Level.NONE: 1, Level.HIGH: 3}),
        (dict[Literal[1, 2], str], {"1": "a"}, {1: "a"}),
        (Literal["a", "b"], "a", "a"),
        (Point, {"x": 1, "color": None, "y": None}, Point(1.0, None, 0.0)),
        (Options, {"size": 1, "at": None}, {"size": 1}),
        (Sum, {"parts": [1, 2]}, Sum([1, 2])),
        (Sum, {"parts": [1, 2], "total": 4}, Sum([1, 2])),
        (Pair, {"x": 1}, Pair(1)),
        (Odd, "3", 3),
        (Any, {"as": ["it", "is"]}, {"as": ["it", "is"]}),
        (None, [1], [1]),
    ],
)
def test_typed(hint: Any, value: Any, expected: Any, handler: ModuleType) -> None:
    found = handler.typed(value, hint)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (Point, [], "expected an object"),
        (Point, {"color": None}, "x: expected it, found nothing"),
        (Point, {"x": 1, "z": 1}, "z: unknown"),
        (Point, {"x": "one"}, "x: could not convert string to float"),
        (Options, {"size": 1, "at": "now"}, "at: Invalid isoformat string"),
        (Options, {"size": None, "at": "now"}, "at: Invalid isoformat string"),
    ],
)
def test_misfit(hint: Any, value: Any, message: str, handler: ModuleType) -> None:
    with pytest.raises(handler.MisfitError, match=message):
        handler.typed(value, hint)


def numbers() -> Iterator[int]:
    yield from (1, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, Color.RED), {"x": 1, "color": "red", "y": 0.0}),
        ({date(2024, 2, 29): Decimal("1.50"), 7: {"a"}}, {"2024-02-29": "1.50", "7": ["a"]}),
        ({True: None}, {"true": None}),
        (MOON, "1969-07-20T20:17:40Z"),
        (datetime(1969, 7, 20, 22, 17, 40, 5, tzinfo=timezone(timedelta(hours=2))), "1969-07-20T20:17:40.000005Z"),
        (datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00Z"),
        ("ü".encode(), "ü"),
        (numbers(), [1, 2]),
        ((1, "a"), [1, "a"]),
        (Model(), {"x": 3}),
        (Series(), [1]),
        (Pair(1), {"x": 1, "y": 0.5}),
        ([Sum([1, 2])], [{"parts": [1, 2], "total": 3}]),
    ],
)
def test_plain(value: Any, expected: Any, handler: ModuleType) -> None:
    assert json.loads(json.dumps(handler.plain(value))) == expected


@pytest.mark.parametrize("value", [object(), b"\xff"])
def test_no_result(value: Any, handler: ModuleType) -> None:
    with pytest.raises((TypeError, UnicodeDecodeError)):
        handler.plain(value)


def by_position(a: int = 1, b: int = 2, /, *, c: int = 3, d: int | None = 4) -> list[int | None]:
    return [a, b, c, d]


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ({}, [1, 2, 3, 4]),
        ({"b": 7}, [1, 7, 3, 4]),
        ({"a": None, "b": 7, "c": None, "d": None}, [1, 7, 3, None]),
    ],
)
def test_inputs_that_are_left_out(query: Any, result: list[int | None], handler: ModuleType) -> None:
    """An input with a default may be null as well, and has its default then, unless None is one of its values."""
    assert json.loads(handler.Served(by_position).answer(query, {})) == result
