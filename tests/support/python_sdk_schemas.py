"""Print the schemas that the official Python SDK infers from typed functions; runs in the SDK's environment.

The functions of the table are those of `CM_TOML` in tests/unit/datatypes/test_python_sdk.py, name by name. With the
argument `table` their schemas are printed. With `types` each line of stdin is a data type of the protocol; the answer
is the type that the SDK infers from the Python type that means it, or the error that it raises.
"""

import datetime as dt
import decimal
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NotRequired, Optional, TypedDict

from compute_modules.context import QueryContext  # type: ignore[import-not-found]  # it is in .venv-sdk-python
from compute_modules.function_registry.function_schema_parser import (  # type: ignore[import-not-found]
    parse_function_schema,
)
from compute_modules.function_registry.types import (  # type: ignore[import-not-found]
    Byte,
    ComputeModuleFunctionSchema,
    Double,
    Long,
    Short,
)


class Flight:
    """An object type, as the Foundry SDK generates it."""

    @classmethod
    def api_name(cls) -> str:
        return "Flight"


class AddObject: ...


class ModifyObject: ...


class DeleteObject: ...


class AddLink: ...


class RemoveLink: ...


OntologyEdit = AddObject | ModifyObject | DeleteObject | AddLink | RemoveLink


@dataclass
class Simple:
    a_boolean: bool
    a_byte: Byte
    a_short: Short
    an_integer: int
    a_long: Long
    a_float: float
    a_double: Double
    a_decimal: decimal.Decimal
    a_string: str
    a_binary: bytes
    a_date: dt.date
    a_timestamp: dt.datetime


@dataclass
class Point:
    x: Double
    y: Double
    label: str | None


class Line(TypedDict):
    points: list[Point]
    names: NotRequired[dict[str, Point]]


@dataclass
class Compound:
    texts: list[str]
    ids: set[Long]
    prices: dict[dt.date, decimal.Decimal]
    streamed: Iterable[bytes]
    nested: dict[int, list[set[float]]]
    maybe: int | None = None
    maybe_point: Point | None = None


@dataclass
class Structs:
    point: Point
    line: Line
    lines: list[Line]


@dataclass
class Required:
    must: str | None
    may: str = "default"


class Dictionary(TypedDict):
    needed: str
    spare: NotRequired[int]


def simple(context: QueryContext, event: Simple) -> str:
    raise NotImplementedError


def compound(context: QueryContext, event: Compound) -> list[int | None]:
    raise NotImplementedError


def structs(context: QueryContext, event: Structs) -> Line:
    raise NotImplementedError


def required(context: QueryContext, event: Required) -> bool | None:
    raise NotImplementedError


def dictionary(context: QueryContext, event: Dictionary) -> dict[str, Dictionary]:
    raise NotImplementedError


def edits(context: QueryContext, event: Dictionary) -> list[OntologyEdit]:
    raise NotImplementedError


def untyped(context, event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    raise NotImplementedError


def without_inputs() -> bytes:
    raise NotImplementedError


TABLE: list[Callable[..., Any]] = [simple, compound, structs, required, dictionary, edits, untyped, without_inputs]

SIMPLE_HINTS = {
    "boolean": bool,
    "byte": Byte,
    "short": Short,
    "integer": int,
    "long": Long,
    "float": float,
    "double": Double,
    "decimal": decimal.Decimal,
    "string": str,
    "binary": bytes,
    "date": dt.date,
    "timestamp": dt.datetime,
}


def hint(data_type: dict[str, Any]) -> Any:
    """Return the Python type for a data type of the protocol."""
    name = data_type["type"]
    body = data_type[name]
    match name:
        case "list":
            return list[hint(body["elementsType"])]  # type: ignore[misc]
        case "set":
            return set[hint(body["elementsType"])]  # type: ignore[misc]
        case "map":
            return dict[hint(body["keysType"]), hint(body["valuesType"])]  # type: ignore[misc]
        case "optionalType":
            return Optional[hint(body["wrappedType"])]  # noqa: UP045 - a value, and no annotation
        case "anonymousCustomType":
            return TypedDict("Struct", {name: hint(inner) for name, inner in body["fields"].items()})  # type: ignore[operator]
    return SIMPLE_HINTS[name]


def schema_of(function: Callable[..., Any], name: str) -> Any:
    edited = [Flight] if name == "edits" else []
    schema = parse_function_schema(function, name, edited, {"Flight": "flight-id"}).function_schema
    assert schema.keys() == ComputeModuleFunctionSchema.__annotations__.keys()
    return schema


def inferred(data_type: dict[str, Any]) -> Any:
    """Return the type as the SDK infers it from a function that returns it."""

    def function(): ...  # type: ignore[no-untyped-def]  # noqa: ANN202

    function.__annotations__["return"] = hint(data_type)
    return schema_of(function, "f")["output"]["single"]["dataType"]


def main() -> None:
    if sys.argv[1] == "table":
        print(json.dumps([schema_of(function, function.__name__) for function in TABLE]))
        return
    for line in sys.stdin:
        try:
            answer = inferred(json.loads(line))
        except Exception as error:  # noqa: BLE001 - the test shows it
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
