"""A Python function that exists already, as a function of a cm.toml."""

import json
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from cm_exec.config.load import parse_config
from cm_exec.datatypes.sample import sample
from cm_exec.importers.declarations import (
    Declarations,
    DeclaredFunction,
    DescriptionError,
    declarations_toml,
    toml_value,
)
from cm_exec.importers.read import python_declarations
from cm_exec.protocol.function_schema import Input
from cm_exec.scaffold.plan import Asked, Plan
from cm_exec.scaffold.project import plan_python
from cm_exec.scaffold.templates import Files, read_folder

_OPTION: Final = "--from-python"
_INTERPRETER: Final = "python3"


def plan_function(asked: Asked, target: str) -> Plan:
    """A folder that serves the function `MODULE:FUNCTION`. Raises click.BadParameter."""
    if not all(target.partition(":")):
        raise click.BadParameter("expected MODULE:FUNCTION, such as app.handlers:double", param_hint=_OPTION)
    declarations = _declarations(asked.directory, target)
    (declared,) = declarations.functions
    function = _with_command(declared, asked)
    block = declarations_toml(Declarations(functions=[function], types=declarations.types))
    inputs = parse_config(block, path=Path("/cm.toml")).functions[function.name].inputs
    return plan_python(asked, function=function.name, files=_files(block, function.name, inputs), notes=[])


def _declarations(folder: Path, target: str) -> Declarations:
    """As it will be imported: from the folder, or from the packages of the interpreter."""
    there = folder.is_dir()
    try:
        return python_declarations(target, _INTERPRETER, folder=folder if there else Path("/"))
    except DescriptionError as error:
        where = f"{folder}{'' if there else ', which is not there yet,'} and among the packages of {_INTERPRETER}"
        raise click.BadParameter(f"{target}: {error}; looked for in {where}", param_hint=_OPTION) from None


def _with_command(declared: DeclaredFunction, asked: Asked) -> DeclaredFunction:
    options: dict[str, Any] = {**declared.options, "mode": asked.mode}
    if asked.mode == "persistent":
        options |= {"command": [*options["command"], "--lines"], "envelope": True}
    if declared.inputs is not None:
        options["check_queries"] = True
    return msgspec.structs.replace(declared, name=asked.name or declared.name, options=options)


def _files(block: str, function: str, inputs: tuple[Input, ...] | None) -> Files:
    handler = dict(read_folder("function", {"BLOCK": block, "TESTS": _tests(function, inputs)}))
    query = {each.name: sample(each.type) for each in inputs or ()}
    return {**handler, "query.json": f"{json.dumps(query, ensure_ascii=False)}\n"}


def _tests(function: str, inputs: tuple[Input, ...] | None) -> str:
    """A test that is sure to pass where queries are checked; what the function returns only its author knows."""
    name = toml_value(function)
    lines = [
        "# `cm-exec test` runs these. Say here what comes of which query:",
        "# [[tests]]",
        f"# function = {name}",
        '# query_file = "query.json"',
        "# result = ...",
    ]
    if inputs is not None:
        nothing = "{}" if any(each.required for each in inputs) else "[]"
        lines += ["", "[[tests]]", f"function = {name}", f"query = {nothing}", 'error = "invalid_query"']
    return "\n".join(lines)
