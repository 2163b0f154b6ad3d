"""Import a description of functions in any known form as a cm.toml; published schemas are read here."""

import subprocess
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from cm_exec.config.load import parse_config
from cm_exec.datatypes import TypeJsonError, required_by_default, type_from_json
from cm_exec.datatypes.syntax import type_text
from cm_exec.errors import ConfigError
from cm_exec.importers.declarations import Declarations, DeclaredFunction, DescriptionError, Member, declarations_toml
from cm_exec.importers.json_schema import from_json_schema, mapping
from cm_exec.importers.openapi import from_openapi


def from_published(schemas: Sequence[Any]) -> Declarations:
    """Return the functions of the JSON array for POST schemas. Raises DescriptionError."""
    return Declarations(functions=[_published_function(schema) for schema in schemas])


def _published_function(schema: Any) -> DeclaredFunction:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("functionName"), str):
        raise DescriptionError("expected an array of function schemas, each with a functionName")
    name = schema["functionName"]
    try:
        inputs = schema.get("inputs", ())
        output = mapping(schema, "output")
        single = mapping(output, "single")
        return DeclaredFunction(
            name=name,
            inputs=None if inputs is None else tuple(map(_published_input, inputs or ())),
            returns=_published_returns(output, single),
            returns_description=single.get("description"),
            edits=tuple(mapping(mapping(schema, "ontologyProvenance"), "editedObjects")),
        )
    except TypeJsonError as error:
        raise DescriptionError(f"{name}: {error}") from None


def _published_returns(output: Mapping[str, Any], single: Mapping[str, Any]) -> str | None:
    if output.get("hinted") is False:
        return None  # nothing is known of it, and a check would reject most results
    return "void" if output.get("type") == "void" else type_text(type_from_json(single.get("dataType")))


def _published_input(schema: Any) -> Member:
    if not isinstance(schema, Mapping) or not isinstance(schema.get("name"), str):
        raise DescriptionError("an input has a name and a dataType")
    type_ = type_from_json(schema.get("dataType"))
    required = schema.get("required") is not False
    ends = _range_ends(schema.get("constraints"))
    return Member(
        name=schema["name"],
        type=type_text(type_),
        description=schema.get("description"),
        required=None if required is required_by_default(type_) else required,
        min=ends.get("min"),
        max=ends.get("max"),
        choice=schema.get("choice"),
    )


def _range_ends(constraints: Any) -> Mapping[str, Any]:
    for constraint in constraints or ():
        if isinstance(constraint, Mapping):
            return mapping(constraint, str(constraint.get("type")))
    return {}


PYTHON_HANDLER: Final = "cm_handler.py"
"""The handler for a Python function. It writes results to file descriptor 3, so that the function may print."""


def import_python_toml(target: str, interpreter: str) -> tuple[str, list[str]]:
    """Return the same as `import_toml` for the type hints of a Python function. Raises DescriptionError."""
    return _checked_toml(python_declarations(target, interpreter))


def python_declarations(target: str, interpreter: str, *, folder: Path | None = None) -> Declarations:
    """Read a Python function, such as `app.handlers:double`, or all of a module such as `app.handlers`.

    `interpreter` imports the module from `folder` (default: the current one) or from its packages. The command is that
    of the handler that `cm-exec init --from-python` writes. Raises DescriptionError.
    """
    script = Path(__file__).with_name("python_hints.py")
    command = [interpreter, str(script), target]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise DescriptionError(f"{interpreter} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise DescriptionError(said[-1] if said else f"{interpreter} failed")
    document = _decode(done.stdout)
    is_module = isinstance(document, dict)
    declarations = from_published(document["functions"] if is_module else document)
    if is_module:
        declarations.notes.extend(document["notes"])
    declarations.notes.extend(
        f"{function.name}: edits has API names of object types; replace them by the IDs of these types"
        for function in declarations.functions
        if function.edits
    )
    declarations.notes.extend(
        f"{function.name} has no type hint for its result: `returns` is left out, and no result is checked"
        for function in declarations.functions
        if function.returns is None
    )
    options = {"command": [interpreter, PYTHON_HANDLER, target], "output": "json", "result_fd": 3}
    functions = [msgspec.structs.replace(each, options=options) for each in declarations.functions]
    return msgspec.structs.replace(declarations, functions=functions)


def import_toml(content: bytes, name: str) -> tuple[str, list[str]]:
    """Return a cm.toml for a JSON description of functions, and notes on what could not be imported.

    The description is OpenAPI 3, the JSON Schema of one function's query (`name` is its name if it has no title), or
    published function schemas. Raises DescriptionError.
    """
    return _checked_toml(_declarations(_decode(content), name))


def _checked_toml(declarations: Declarations) -> tuple[str, list[str]]:
    text = declarations_toml(declarations)
    try:
        parse_config(text, path=Path("/cm.toml"))
    except ConfigError as error:
        problems = "; ".join(map(str, error.problems))
        raise DescriptionError(f"cm.toml cannot express it: {problems}") from None
    return text, declarations.notes


def _decode(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content.removeprefix(BOM_UTF8))  # editors on Windows write one
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DescriptionError(f"not valid JSON ({error}); convert YAML to JSON first") from None


def _declarations(document: Any, name: str) -> Declarations:
    if isinstance(document, list):
        return from_published(document)
    if not isinstance(document, dict):
        raise DescriptionError("expected OpenAPI, a JSON Schema, or published function schemas")
    if "functionName" in document:
        return from_published([document])
    if "swagger" in document:
        raise DescriptionError("this is Swagger 2; convert it to OpenAPI 3 first")
    return from_openapi(document) if "openapi" in document else from_json_schema(document, name)
