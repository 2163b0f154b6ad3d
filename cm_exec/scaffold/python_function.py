"""Existing Python functions as functions of a new cm.toml."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from cm_exec.config.load import parse_config
from cm_exec.config.toml import toml_value
from cm_exec.datatypes.sample import sample
from cm_exec.importers.declarations import (
    Declarations,
    DeclaredFunction,
    DeclaredService,
    DescriptionError,
    declarations_toml,
)
from cm_exec.importers.read import python_declarations
from cm_exec.protocol.function_schema import Input
from cm_exec.scaffold.project import ProjectArgs, ProjectPlan, plan_python
from cm_exec.scaffold.templates import read_folder

_OPTION: Final = "--from-python"
_INTERPRETER: Final = "python3"


def plan_python_target(args: ProjectArgs, target: str) -> ProjectPlan:
    """Plan a project for the function `MODULE:FUNCTION`, or for all functions of `MODULE` as one service.

    Raises click.BadParameter.
    """
    block, functions, notes = python_block(args, target)
    inputs = parse_config(block, path=Path("/cm.toml")).functions[functions[0]].inputs
    tests = "\n".join(["# `cm-exec test` runs these.", *(function_tests(name, block) for name in functions)])
    files = dict(read_folder("function", {"BLOCK": block, "TESTS": tests}))
    files["query.json"] = f"{sample_query(inputs)}\n"
    return plan_python(args, function=functions[0], files=files, notes=notes)


def python_block(args: ProjectArgs, target: str) -> tuple[str, list[str], list[str]]:
    """Return the tables of cm.toml for a target, the names of its functions, and notes. Raises click.BadParameter."""
    module, colon, name = target.partition(":")
    if not module or (colon and not name):
        message = "expected MODULE:FUNCTION, such as app.handlers:double, or MODULE for all its functions"
        raise click.BadParameter(message, param_hint=_OPTION)
    if not colon and args.name is not None:
        raise click.BadParameter("a whole module keeps its functions' names", param_hint="--name")
    declarations = _declarations(args.directory, target)
    functions = [_with_options(declared, args, target) for declared in declarations.functions]
    services = [] if colon else [_service(module)]
    block = declarations_toml(Declarations(services=services, functions=functions, types=declarations.types))
    return block, [function.name for function in functions], list(declarations.notes)


def _declarations(folder: Path, target: str) -> Declarations:
    """Read the hints as they will be imported: from the folder, or from the packages of the interpreter."""
    exists = folder.is_dir()
    try:
        return python_declarations(target, _INTERPRETER, folder=folder if exists else Path("/"))
    except DescriptionError as error:
        where = f"{folder}{'' if exists else ', which does not exist yet,'} and among the packages of {_INTERPRETER}"
        raise click.BadParameter(f"{target}: {error}; searched in {where}", param_hint=_OPTION) from None


def _with_options(declared: DeclaredFunction, args: ProjectArgs, target: str) -> DeclaredFunction:
    options: dict[str, Any]
    if ":" not in target:
        options = {"service": target, "output": "json"}
    else:
        options = {**declared.options, "mode": args.mode}
        if args.mode == "persistent":
            options |= {"command": [*options["command"], "--lines"], "envelope": True}
    if declared.inputs is not None:
        options["check_queries"] = True
    return msgspec.structs.replace(declared, name=args.name or declared.name, options=options)


def _service(module: str) -> DeclaredService:
    return DeclaredService(
        name=module,
        options={
            "command": [_INTERPRETER, "cm_handler.py", module, "--lines"],
            "processes": 1,
            "envelope": True,
            "result_fd": 3,
        },
        comments=(
            "One process imports the module, and its functions share it. Without `processes` more can be started.",
            "Results are written to file descriptor 3, so that a print is a log line and never a result.",
        ),
    )


def sample_query(inputs: Sequence[Input] | None) -> str:
    """Return a query that matches the inputs, as JSON."""
    return json.dumps({each.name: sample(each.type) for each in inputs or ()}, ensure_ascii=False)


def function_tests(name: str, block: str) -> str:
    """Return the tests of a function: one that calls it, and one with a query that does not match its inputs.

    Only the author knows the result, so the first accepts any that matches `returns`.
    """
    inputs = parse_config(block, path=Path("/cm.toml")).functions[name].inputs
    key = toml_value(name)
    lines = [
        "",
        "[[tests]]",
        'name = "can be called"',
        f"function = {key}",
        f"query_json = {toml_value(sample_query(inputs))}",
        "# Any result will do. Write the expected one instead, such as: result = 42",
        'result_matches = ""',
    ]
    if inputs is not None:
        nothing = "{}" if any(each.required for each in inputs) else "[]"
        lines += ["", "[[tests]]", f"function = {key}", f"query = {nothing}", 'error = "invalid_query"']
    return "\n".join(lines)
