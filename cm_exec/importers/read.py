"""Import a description of functions in any known form as a cm.toml."""

import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec

from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError
from cm_exec.importers.declarations import Declarations, DescriptionError, declarations_toml
from cm_exec.importers.json_schema import from_json_schema
from cm_exec.importers.openapi import from_openapi
from cm_exec.importers.published import from_published

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
        return msgspec.json.decode(content)
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
