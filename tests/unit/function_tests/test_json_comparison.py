"""JSON is compared by value; each difference is reported with its path."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.function_tests.comparison import ComparisonOptions, decode, differences
from cm_exec.protocol.json_text import InvalidJsonError

SUBSET = ComparisonOptions(subset=True)

scalar = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


def compare(expected: str, found: str, **options: Any) -> list[str]:
    """Return the differences of two JSON texts."""
    return list(differences(decode(expected.encode()), decode(found.encode()), ComparisonOptions(**options)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "42.0"),
        ("42", "4.2e1"),
        ("0", "-0.0"),
        ("0.1", "0.10"),
        ("0.1", "0.1000000000000000055511151231257827"),  # the same double
        ("1e400", "10e399"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('{"a": 1, "b": 2}', '{"b": 2,\n"a": 1}'),
        (r'"é"', '"é"'),
        (r'"\ud83d"', r'"\ud83d"'),
        ("1" * 5000, "1" * 5000),
        ("[]", " [ ] "),
    ],
)
def test_equal(one: str, other: str) -> None:
    assert compare(one, other) == []


@pytest.mark.parametrize(
    ("expected", "found", "lines"),
    [
        ("42", "43", ["$: expected 42, found 43"]),
        ("1", "true", ["$: expected 1, found true"]),
        ("false", "0", ["$: expected false, found 0"]),
        ("null", "false", ["$: expected null, found false"]),
        ('"1"', "1", ['$: expected "1", found 1']),
        ("{}", "[]", ["$: expected {}, found []"]),
        ("9007199254740993", "9007199254740992.0", ["$: expected 9007199254740993, found 9007199254740992.0"]),
        ("9007199254740993", "9007199254740992", ["$: expected 9007199254740993, found 9007199254740992"]),
        ("1e400", "1e401", ['$: expected "1E+400", found "1E+401"']),
        ('{"a": null}', "{}", ["$.a: expected null, found nothing"]),
        ("{}", '{"a": null}', ["$.a: expected nothing, found null"]),
        (
            '{"items": [{"price": 1}, {"price": 2}, {"price": 3}]}',
            '{"items": [{"price": 1}, {"price": 2}, {"price": 4}]}',
            ["$.items[2].price: expected 3, found 4"],
        ),
        ('{"a b": {"": 1}}', '{"a b": {"": 2}}', ['$["a b"][""]: expected 1, found 2']),
        (
            '["a", "b", "c"]',
            '["a", "x", "b", "c"]',
            ["$: expected 3 items, found 4 items", '$[1]: expected nothing, found "x"'],
        ),
        (
            '["a", "b", "c"]',
            '["b", "c"]',
            ["$: expected 3 items, found 2 items", '$[0]: expected "a", found nothing'],
        ),
        (
            "[1, 2, 3, 4]",
            "[1, 9, 4]",
            ["$: expected 4 items, found 3 items", "$[1]: expected 2, found 9", "$[2]: expected 3, found nothing"],
        ),
        ("[1, 1]", "[1]", ["$: expected 2 items, found 1 item", "$[1]: expected 1, found nothing"]),
        ("[[1, 2]]", "[[2, 1]]", ["$[0][0]: expected 1, found 2", "$[0][1]: expected 2, found 1"]),
    ],
)
def test_differences(expected: str, found: str, lines: list[str]) -> None:
    """Each difference has its path."""
    assert compare(expected, found) == lines


@pytest.mark.parametrize(
    ("expected", "found", "lines"),
    [
        ('{"a": 1}', '{"a": 1, "b": 2}', []),
        ("{}", '{"b": 2}', []),
        ('{"a": {"x": 1}}', '{"a": {"x": 1, "y": 2}, "b": 3}', []),
        ('[{"a": 1}, {}]', '[{"a": 1, "b": 2}, {"c": 3}]', []),
        ('{"a": 1}', '{"b": 1}', ["$.a: expected 1, found nothing"]),
        ("[1]", "[1, 2]", ["$: expected 1 item, found 2 items", "$[1]: expected nothing, found 2"]),
        ("5", "5", []),
    ],
)
def test_subset(expected: str, found: str, lines: list[str]) -> None:
    """Objects may have more members, arrays not more items."""
    assert compare(expected, found, subset=True) == lines


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "equal"),
    [
        ("0.3", "0.4", 0.1, True),  # in doubles they are more than 0.1 apart
        ("0.3", "0.4000001", 0.1, False),
        ("10", "10.5", 0.5, True),
        ("10", "9", 0.5, False),
        ("1e400", "1", 1.0, False),
        ("1e999999999999", "1", 1.0, False),
        ("true", "1", 5.0, False),
        ('"1"', "1", 5.0, False),
        ('{"a": [1, {"b": 2}]}', '{"a": [1.01, {"b": 1.99}]}', 0.02, True),
    ],
)
def test_tolerance(expected: str, found: str, tolerance: float, equal: bool) -> None:
    assert (compare(expected, found, tolerance=tolerance) == []) is equal


def test_long_strings() -> None:
    """Long strings are shown around their difference."""
    (line,) = compare(json.dumps("a" * 500 + "b" + "c" * 500), json.dumps("a" * 500 + "d" + "c" * 500))
    assert line.startswith('$: from character 501 on expected …"aaaa')
    assert "aab" in line
    assert "aad" in line
    assert len(line) < 250


def test_long_values() -> None:
    (line,) = compare(json.dumps(list(range(10_000))), json.dumps("x"))
    assert line.startswith("$: expected [0, 1, 2,")
    assert line.endswith('…, found "x"')
    assert len(line) < 150


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"[1,]", b"\xff", b"'x'", b"[" * 100_000])
def test_invalid_json(text: bytes) -> None:
    with pytest.raises(InvalidJsonError) as refused:
        decode(text)
    assert str(refused.value)


@given(value)
def test_equal_to_itself(some: Any) -> None:
    text = json.dumps(some)
    assert compare(text, json.dumps(some, indent=2, ensure_ascii=False)) == []
    assert compare(text, text, subset=True) == []


@given(value, value)
def test_symmetric(one: Any, other: Any) -> None:
    there, back = list(differences(one, other)), list(differences(other, one))
    assert bool(there) == bool(back)
    assert all(line.startswith("$") and "\n" not in line for line in there)


@given(value, st.data())
def test_part_is_subset(whole: Any, data: st.DataObject) -> None:
    """An object without some members is a subset."""
    part = copy.deepcopy(whole)
    remove_members(part, data)
    assert list(differences(part, whole, SUBSET)) == []


def remove_members(some: Any, data: st.DataObject) -> None:
    if isinstance(some, dict):
        for name in list(some):
            if data.draw(st.booleans()):
                del some[name]
    for inner in some.values() if isinstance(some, dict) else some if isinstance(some, list) else ():
        remove_members(inner, data)
