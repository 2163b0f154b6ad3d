"""Whether a result is of the type that the schema declares."""

from typing import Any

import pytest

from cm_exec.local_runtime.core.declared import is_untyped, mismatch


def of(name: str, **body: Any) -> dict[str, Any]:
    return {"type": name, name: body}


def single(data_type: dict[str, Any]) -> dict[str, Any]:
    return {"type": "single", "single": {"dataType": data_type}}


INTEGERS = of("list", elementsType=of("integer"))
POINT = of("anonymousCustomType", fields={"x": of("integer"), "label": of("optionalType", wrappedType=of("string"))})
LOOSE = of("anonymousCustomType", fields={"x": of("integer")}, fieldMetadata={"x": {"required": False}})

GOOD = [
    (b"true", of("boolean")),
    (b"-2147483648", of("integer")),
    (b"9223372036854775807", of("long")),
    (b"1", of("short")),
    (b"1", of("double")),
    (b"1.5", of("float")),
    (b'""', of("string")),
    (b'"AAEC"', of("binary")),
    (b'"1.10"', of("decimal")),
    (b'"1969-07-20"', of("date")),
    (b"1700000000000", of("timestamp")),
    (b'"2024-01-01T00:00:00.5Z"', of("timestamp")),
    (b"[]", INTEGERS),
    (b"[1, 2]", INTEGERS),
    (b"[1]", of("set", elementsType=of("integer"))),
    (b'{"a": 1}', of("map", keysType=of("string"), valuesType=of("integer"))),
    (b"null", of("optionalType", wrappedType=of("integer"))),
    (b"1", of("optionalType", wrappedType=of("integer"))),
    (b'{"x": 1}', POINT),
    (b'{"x": 1, "label": "a", "more": true}', POINT),
    (b"{}", LOOSE),
    (b"null", of("unknown")),
    (b'{"any": "thing"}', of("ofTheFuture")),
    (b'  "\\ud83d"  ', of("string")),
]

BAD = [
    (b"1", of("boolean"), "the result is an integer; declared is boolean"),
    (b"true", of("integer"), "the result is a boolean; declared is integer"),
    (b"1.0", of("integer"), "the result is a number; declared is integer"),
    (b"2147483648", of("integer"), "the result is 2147483648, out of the range of integer"),
    (b"9223372036854775808", of("long"), "the result is 9223372036854775808, out of the range of long"),
    (b'"1"', of("double"), "the result is a string; declared is double"),
    (b"true", of("float"), "the result is a boolean; declared is float"),
    (b'{"a": 1}', of("string"), "the result is a struct; declared is string, in JSON a string"),
    (b"1.1", of("decimal"), "the result is a number; declared is decimal, in JSON a string"),
    (b'"20.7.1969"', of("date"), "the result is a string; declared is date, such as 1969-07-20"),
    (
        b"1.5",
        of("timestamp"),
        "the result is a number; declared is timestamp, milliseconds since the epoch or ISO 8601",
    ),
    (b"{}", INTEGERS, "the result is a struct; declared is list"),
    (b'[1, "2"]', INTEGERS, "the result[1] is a string; declared is integer"),
    (b"[]", of("map", keysType=of("string"), valuesType=of("integer")), "the result is a list; declared is map"),
    (
        b'{"a b": null}',
        of("map", keysType=of("string"), valuesType=of("integer")),
        'the result["a b"] is null; declared is integer',
    ),
    (b"1", POINT, "the result is an integer; declared is a struct"),
    (b"{}", POINT, "the result has no 'x', which is declared"),
    (b'{"x": "1"}', POINT, "the result.x is a string; declared is integer"),
    (b'{"x": 1, "label": 2}', POINT, "the result.label is an integer; declared is string, in JSON a string"),
    (b"", of("string"), "the declared output is string, and the result is not JSON"),
    (b"NaN", of("double"), "the declared output is double, and the result is not JSON"),
    (b"\xff", of("string"), "the declared output is string, and the result is not JSON"),
    (b"plain words", of("string"), "the declared output is string, and the result is not JSON"),
]


@pytest.mark.parametrize(("body", "data_type"), GOOD)
def test_what_is_as_declared(body: bytes, data_type: dict[str, Any]) -> None:
    assert mismatch(body, single(data_type), streamed=False) is None


@pytest.mark.parametrize(("body", "data_type", "sentence"), BAD)
def test_what_is_not(body: bytes, data_type: dict[str, Any], sentence: str) -> None:
    assert mismatch(body, single(data_type), streamed=False) == sentence


@pytest.mark.parametrize(
    ("body", "data_type", "sentence"),
    [
        (b"1 2\n3", INTEGERS, None),
        (b"[1, 2]", INTEGERS, None),
        (b"1", INTEGERS, None),
        (b"", INTEGERS, None),
        (b'"a""b"', of("string"), None),
        (
            b'"a"{"b": 1}',
            of("list", elementsType=of("string")),
            "element 1 is a struct; declared is string, in JSON a string",
        ),
        (b"1 2,", INTEGERS, "the declared output is list, and the result is not JSON"),
    ],
)
def test_a_stream_is_one_value_or_elements_without_delimiters(
    body: bytes, data_type: dict[str, Any], sentence: str | None
) -> None:
    assert mismatch(body, single(data_type), streamed=True) == sentence


@pytest.mark.parametrize("output", [{"type": "void", "void": {}}, {}, {"type": "single", "single": None}])
def test_nothing_declared_is_nothing_to_hold_to(output: dict[str, Any]) -> None:
    assert mismatch(b"any", output, streamed=False) is None


def test_a_very_large_result_is_not_read() -> None:
    assert mismatch(b" " * 5_000_000, single(of("string")), streamed=False) is None


def test_a_deep_result_does_no_harm() -> None:
    assert mismatch(b"[" * 200_000, single(of("string")), streamed=False) is not None


def test_the_schema_of_an_undeclared_function_is_known() -> None:
    assert is_untyped({"functionName": "f", "inputs": [], "output": single(of("string"))})
    assert not is_untyped({"functionName": "f", "inputs": [], "output": single(of("integer"))})
    assert not is_untyped({"functionName": "f", "inputs": [{"name": "x"}], "output": single(of("string"))})
