"""Import functions from published schemas, as `cm-exec schema` or an official SDK posts them."""

from collections.abc import Mapping, Sequence
from typing import Any

from cm_exec.datatypes.model import required_by_default
from cm_exec.datatypes.schema_json import TypeJsonError, type_from_json
from cm_exec.datatypes.syntax import type_text
from cm_exec.importers.declarations import Declarations, DeclaredFunction, DescriptionError, Member


def from_published(schemas: Sequence[Any]) -> Declarations:
    """Return the functions of the JSON array for POST schemas. Raises DescriptionError."""
    return Declarations(functions=[_function(schema) for schema in schemas])


def _function(schema: Any) -> DeclaredFunction:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("functionName"), str):
        raise DescriptionError("expected an array of function schemas, each with a functionName")
    name = schema["functionName"]
    try:
        inputs = schema.get("inputs", ())
        output = _member_of(schema, "output")
        single = _member_of(output, "single")
        return DeclaredFunction(
            name=name,
            inputs=None if inputs is None else tuple(map(_input, inputs or ())),
            returns="void" if output.get("type") == "void" else type_text(type_from_json(single.get("dataType"))),
            returns_description=single.get("description"),
            edits=tuple(_member_of(_member_of(schema, "ontologyProvenance"), "editedObjects")),
        )
    except TypeJsonError as error:
        raise DescriptionError(f"{name}: {error}") from None


def _input(schema: Any) -> Member:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("name"), str):
        raise DescriptionError("an input has a name and a dataType")
    type_ = type_from_json(schema.get("dataType"))
    required = schema.get("required") is not False
    ends = _ends(schema.get("constraints"))
    return Member(
        name=schema["name"],
        type=type_text(type_),
        description=schema.get("description"),
        required=None if required is required_by_default(type_) else required,
        min=ends.get("min"),
        max=ends.get("max"),
    )


def _ends(constraints: Any) -> Mapping[str, Any]:
    for constraint in constraints or ():
        if isinstance(constraint, Mapping):
            return _member_of(constraint, str(constraint.get("type")))
    return {}


def _member_of(json: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = json.get(name)
    return value if isinstance(value, Mapping) else {}
