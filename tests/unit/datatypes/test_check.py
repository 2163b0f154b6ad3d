"""Values against types: what fits, and what is said of what does not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.datatypes import DataType
from cm_exec.datatypes.check import TypeMismatchError, checker
from cm_exec.datatypes.syntax import parse_type
from cm_exec.protocol.json_text import InvalidJsonError, decode_json
from tests.support.data_types import data_types, values


def complaint(type_: str, text: str) -> str | None:
    return complaint_about(decode_json(text.encode()), parse_type(type_))


def complaint_about(value: Any, type_: DataType) -> str | None:
    try:
        checker(type_)(value)
    except TypeMismatchError as mismatch:
        return str(mismatch)
    return None


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("boolean", "true"),
        ("integer", "-2147483648"),
        ("integer", "2147483647"),
        ("short", "-32768"),
        ("long", "9223372036854775807"),
        ("long", '"-9223372036854775808"'),
        ("byte", "-128"),
        ("byte", '"AQ=="'),
        ("float", "1"),
        ("float", "1.5e3"),
        ("double", "-0.0"),
        ("double", '"NaN"'),
        ("double", '"-Infinity"'),
        ("string", '""'),
        ("string", '"\\ud83d"'),
        ("binary", '"iVBORw0KGgo="'),
        ("date", '"2024-02-29"'),
        ("timestamp", "0"),
        ("timestamp", "-14182940000"),
        ("timestamp", "8640000000000000"),
        ("timestamp", '"1969-07-20T20:17:40Z"'),
        ("timestamp", '"1969-07-20T20:17:40.123456Z"'),
        ("timestamp", '"1969-07-20T20:17:40.1+02:00"'),
        ("timestamp", '"1969-07-20T20:17:40.123456789-0530"'),
        ("decimal", '"12.5"'),
        ("decimal", '"-.5"'),
        ("decimal", '"1e400"'),
        ("decimal(5, 3)", '"99.999"'),
        ("decimal(5, 3)", '"-0012.3400000"'),
        ("decimal(5, 3)", '"1.2E-2"'),
        ("decimal(5, 3)", '"0e9"'),
        ("decimal(2)", '"99"'),
        ("decimal(2)", '"0.01"'),
        ("decimal(*, 2)", '"123456789012345678901234567890.12"'),
        ("list<integer>", "[]"),
        ("set<integer>", "[1, 2, 2]"),
        ("map<string, integer>", '{"": 1}'),
        ("map<integer, date>", '{"-3": "2024-02-29"}'),
        ("map<boolean, date>", '{"true": "2024-02-29"}'),
        ("map<double, boolean>", '{"1.5e3": true, "NaN": true}'),
        ("map<date, boolean>", '{"2024-02-29": true}'),
        ("map<timestamp, boolean>", '{"1969-07-20T20:17:40Z": true, "86400000": true}'),
        ("map<decimal(2, 1), boolean>", '{"1.5": true}'),
        ("optional<integer>", "null"),
        ("optional<integer>", "3"),
        ("struct<a: integer, b?: integer, c: optional<integer>>", '{"a": 1}'),
        ("struct<a: integer, b?: integer, c: optional<integer>>", '{"c": null, "b": null, "a": 1}'),
        ("struct<a!: optional<integer>>", '{"a": null}'),
        ("unknown", '{"a": [null, 1e999, "x"]}'),
        ("unknown", "1" * 5000),
        ("ontologyEdit", '{"type": "addObject"}'),
    ],
)
def test_a_value_of_the_type_passes(type_: str, text: str) -> None:
    assert complaint(type_, text) is None


BITS_32 = "expected an integer of 32 bits"
TIMESTAMP = 'expected milliseconds since 1970, or a time such as "1969-07-20T20:17:40Z"'
DECIMAL = 'expected a decimal number in a string, such as "12.5"'


@pytest.mark.parametrize(
    ("type_", "text", "message"),
    [
        ("boolean", "1", "$: expected true or false, found an integer"),
        ("boolean", '"true"', "$: expected true or false, found a string of 4 characters"),
        ("integer", "2147483648", f"$: {BITS_32}, found an integer beyond that"),
        ("integer", "1.0", f"$: {BITS_32}, found a number with a fraction or an exponent"),
        ("integer", "1e999", f"$: {BITS_32}, found a number beyond 64 bits"),
        ("integer", "9" * 5000, f"$: {BITS_32}, found a number beyond 64 bits"),
        ("integer", "true", f"$: {BITS_32}, found a boolean"),
        ("integer", '"3"', f"$: {BITS_32}, found a string of 1 character"),
        ("integer", "null", f"$: {BITS_32}, found null"),
        ("short", "32768", "$: expected an integer of 16 bits, found an integer beyond that"),
        ("long", "9223372036854775808", "$: expected an integer of 64 bits, found an integer beyond that"),
        ("long", '"3.0"', "$: expected an integer of 64 bits, found a string of 3 characters"),
        (
            "byte",
            "128",
            "$: expected a byte: an integer from -128 to 127, or a string, found an integer beyond that",
        ),
        ("float", '"1"', "$: expected a number, found a string of 1 character"),
        ("double", "1e999", "$: expected a number, found a number beyond 64 bits"),
        ("string", "5", "$: expected a string, found an integer"),
        ("binary", "[1]", "$: expected bytes in a string, found an array of 1 item"),
        ("date", '"2023-02-29"', '$: expected a date such as "1969-07-20", found a string of 10 characters'),
        ("date", "0", '$: expected a date such as "1969-07-20", found an integer'),
        ("timestamp", '"2024-02-29T12:00:00"', f"$: {TIMESTAMP}, found a string of 19 characters"),
        ("timestamp", "1.5", f"$: {TIMESTAMP}, found a number with a fraction or an exponent"),
        ("timestamp", "8640000000000001", f"$: {TIMESTAMP}, found an integer beyond that"),
        ("decimal", "1.5", f"$: {DECIMAL}, found a number with a fraction or an exponent"),
        ("decimal", '"."', f"$: {DECIMAL}, found a string of 1 character"),
        ("decimal", '"1,5"', f"$: {DECIMAL}, found a string of 3 characters"),
        (
            "decimal(5, 3)",
            '"100"',
            f"$: {DECIMAL} (at most 5 digits, 3 of them after the point), found a string of 3 characters",
        ),
        ("decimal(2)", '"1.23"', f"$: {DECIMAL} (at most 2 digits), found a string of 4 characters"),
        (
            "decimal(*, 1)",
            '"1.23"',
            f"$: {DECIMAL} (at most 1 digits after the point), found a string of 4 characters",
        ),
        ("list<integer>", "{}", "$: expected an array, found an empty object"),
        ("list<list<integer>>", "[[], [1, null]]", f"$[1][1]: {BITS_32}, found null"),
        ("map<string, integer>", "[]", "$: expected an object, found an empty array"),
        ("map<string, integer>", '{"alice": 1, "bob": null}', f"$[entry 2]: {BITS_32}, found null"),
        (
            "map<integer, integer>",
            '{"alice": 1}',
            "$[entry 1]: expected a name that is an integer of 32 bits, found another",
        ),
        ("map<boolean, integer>", '{"True": 1}', "$[entry 1]: expected a name that is true or false, found another"),
        ("struct<a: integer>", '{"a": {"x": 1}}', f"$.a: {BITS_32}, found an object of 1 member"),
        ("struct<a: integer>", "{}", f"$.a: {BITS_32}, found nothing"),
        ("struct<a: integer>", '{"a": null}', f"$.a: {BITS_32}, found null"),
        ('struct<"a b": integer>', "{}", f'$["a b"]: {BITS_32}, found nothing'),
        ("struct<width: integer>", '{"width": 1, "widht": 1}', "$.widht: unknown; did you mean width?"),
        ("struct<a: date, b: date>", '{"z": 1}', "$.z: unknown; the members here are a, b"),
        (
            "list<struct<p: map<string, date>>>",
            '[{"p": {"x": 1}}]',
            '$[0].p[entry 1]: expected a date such as "1969-07-20", found an integer',
        ),
    ],
)
def test_type_mismatch(type_: str, text: str, message: str) -> None:
    """An error about a value has its path and its kind."""
    assert complaint(type_, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it is empty"),
        (b"nope", "JSON is malformed"),
        (b"[1", "Input data was truncated"),
        (b"NaN", "JSON is malformed"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_json_is_said_to_be_none(text: bytes, message: str) -> None:
    with pytest.raises(InvalidJsonError, match=message):
        decode_json(text)


@given(st.data(), data_types)
def test_every_value_of_a_type_fits_it(data: st.DataObject, type_: DataType) -> None:
    value = data.draw(values(type_))
    checker(type_)(decode_json(json.dumps(value).encode()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(data_types, json_values)
def test_any_value_fits_or_is_complained_of(type_: DataType, value: Any) -> None:
    message = complaint_about(value, type_)
    assert message is None or (message.startswith("$") and "\n" not in message)


def test_a_complaint_shows_no_value() -> None:
    secret = "s3cret-4711"
    for type_ in ("integer", "list<date>", "map<date, date>", "struct<a: list<date>>", "map<string, date>"):
        for text in (f'"{secret}"', f'["{secret}"]', f'{{"{secret}": "{secret}"}}', f'{{"a": ["{secret}"]}}'):
            if type_.startswith("struct") and f'"{secret}":' in text:
                continue  # the name of an unknown member is shown, so that a slip is found
            assert secret not in str(complaint(type_, text))
