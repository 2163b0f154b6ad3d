"""Text for people."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.text import (
    closest_match,
    count_text,
    did_you_mean,
    duration_text,
    quoted,
    size_text,
    table_lines,
    three_digits,
    visible,
)


@pytest.mark.parametrize(
    ("name", "names", "match"),
    [
        ("timout", ["timeout", "mode"], "timeout"),
        ("maxOutput", ["max_output"], "max_output"),
        ("max-output", ["max_output"], "max_output"),
        ("xyz", ["timeout"], None),
        ("", ["timeout"], None),
        ("timeout", [], None),
        ("t" * 100_000, ["timeout"], None),
    ],
)
def test_closest_match(name: str, names: list[str], match: str | None) -> None:
    assert closest_match(name, names) == match


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("duble", ["double", "shout"], 'did you mean "double"?'),
        ("xyz", ["double", "shout"], 'there are "double", "shout"'),
        ("xyz", [], ""),
    ],
)
def test_did_you_mean(name: str, names: list[str], hint: str) -> None:
    assert did_you_mean(name, names, otherwise="there are", quote=quoted) == hint


def test_did_you_mean_lists_no_names_by_default() -> None:
    assert did_you_mean("xyz", ["double"]) == ""


def test_did_you_mean_is_limited() -> None:
    """A suggestion lists a limited number of names."""
    hint = did_you_mean("xyz", [f"name{number}" for number in range(100)], otherwise="there are")
    assert hint.startswith("there are name0, name1, ")
    assert hint.endswith("name39, …")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ✓ text", "plain ✓ text"),
        ("red \x1b[31m", r"red \x1b[31m"),
        ("a\tb", "a\tb"),
        ("a\nb\rc", r"a\x0ab\x0dc"),
        ("\x00\x7f\x9f\ud83d\uffff", r"\x00\x7f\x9f\ud83d\uffff"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_keeps_what_the_caller_wants() -> None:
    assert visible("a\nb\r", keep="\n") == "a\nb\\x0d"


@given(st.text())
def test_visible_text_has_no_control_characters(text: str) -> None:
    assert all(character.isprintable() or ord(character) > 0x9F or character == "\t" for character in visible(text))


def test_quoted_cuts_a_long_text() -> None:
    assert quoted('say "hi"') == r'"say \"hi\""'
    assert quoted("x" * 61) == f'"{"x" * 60}…"'


@pytest.mark.parametrize(("count", "text"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (12345, "12,345 jobs")])
def test_counts(count: int, text: str) -> None:
    assert count_text(count, "job") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000_52, "0.52 ms"),
        (0.012_34, "12.3 ms"),
        (0.23, "230 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (75.0, "75.0 s"),
        (4000, "4,000 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1,000 B"),
        (1024, "1 KiB"),
        (1_048_575, "1 MiB"),
        (1536, "1.5 KiB"),
        (64 << 20, "64 MiB"),
        ((64 << 20) + 1, "64 MiB"),
        (1000 << 20, "1,000 MiB"),
        (3 << 30, "3 GiB"),
        (5 << 40, "5,120 GiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("number", "text"), [(0.123, "0.12"), (9.996, "10.0"), (99.96, "100"), (1274.2, "1,274")])
def test_three_digits(number: float, text: str) -> None:
    assert three_digits(number) == text


@pytest.mark.parametrize(
    ("rows", "text_columns", "lines"),
    [
        ([("NAME", "N"), ("a", "10")], None, ["NAME  N", "a     10"]),
        ([("NAME", "N"), ("a", "10")], 1, ["NAME   N", "a     10"]),
        ([("a", "")], None, ["a"]),
        ([], None, []),
    ],
)
def test_tables(rows: Sequence[Sequence[str]], text_columns: int | None, lines: list[str]) -> None:
    assert table_lines(rows, text_columns=text_columns) == lines
