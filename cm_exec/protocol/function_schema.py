"""Function schemas, which are published at start, so that Foundry lists the module's functions."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from cm_exec.datatypes.check import Check, checker, members_checker, raise_out_of_range
from cm_exec.datatypes.model import STRING, DataType, Field, type_json
from cm_exec.datatypes.scalars import Range


class Input(Field, frozen=True, kw_only=True):
    """A member of a function's query."""

    range: Range | None = None


class Returns(Struct, frozen=True, kw_only=True):
    """The result of a function. `type` is None for `void`."""

    type: DataType | None
    description: str | None = None


class FunctionSchema(Struct, frozen=True, kw_only=True):
    """A function as it is published. `inputs` or `returns` is None if it is not declared.

    `edits` are the IDs of the object types that the function edits.
    """

    name: str
    description: str | None = None
    inputs: tuple[Input, ...] | None = None
    returns: Returns | None = None
    edits: tuple[str, ...] = ()


def schemas_body(schemas: Iterable[FunctionSchema]) -> bytes:
    """Return the JSON array for POST schemas.

    A function without declared types is published as by the official Python SDK: without inputs, with a string as
    output. The protocol has no description of a function, so it becomes that of an output without one.
    """
    return msgspec.json.encode([_schema_json(schema) for schema in schemas])


def _schema_json(schema: FunctionSchema) -> dict[str, Any]:
    provenance: dict[str, Any] = {"editedObjects": {name: {} for name in schema.edits}, "editedLinks": {}}
    return {
        "functionName": schema.name,
        "inputs": [_input_json(each) for each in schema.inputs or ()],
        "output": _output_json(schema.returns or Returns(type=STRING), schema.description),
        "ontologyProvenance": provenance if schema.edits else None,
    }


def _input_json(each: Input) -> dict[str, Any]:
    description = {} if each.description is None else {"description": each.description}
    return {
        "name": each.name,
        **description,
        "required": each.required,
        "constraints": [] if each.range is None else [each.range.json()],
        "dataType": type_json(each.type),
    }


def _output_json(returns: Returns, of_function: str | None) -> dict[str, Any]:
    if returns.type is None:
        return {"type": "void", "void": {}}
    description = returns.description or of_function
    described = {} if description is None else {"description": description}
    return {"type": "single", "single": {**described, "dataType": type_json(returns.type)}}


def query_checker(inputs: Iterable[Input]) -> Check:
    """Return the check for a query: an object with the inputs and no other members."""
    return members_checker([(each, _checker(each)) for each in inputs])


def _checker(each: Input) -> Check:
    of_type, range_ = checker(each.type), each.range
    if range_ is None:
        return of_type

    def check(value: Any) -> None:
        of_type(value)
        if value is not None and not range_.holds(value):
            raise_out_of_range(range_.describe())

    return check
