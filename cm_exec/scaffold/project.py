"""Plans of a new project: from templates, from an example, or for an existing Python function."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import tomli

from cm_exec.config.load import parse_config
from cm_exec.config.schema.json_schema import cm_toml_schema_text
from cm_exec.datatypes import key_text, sample
from cm_exec.importers import python_declarations
from cm_exec.importers.declarations import (
    Declarations,
    DeclaredFunction,
    DeclaredService,
    DescriptionError,
    Member,
    declarations_toml,
)
from cm_exec.protocol.function_schema import Input
from cm_exec.scaffold import Language, ProjectMode, read_folder, read_part
from cm_exec.text import toml_key, toml_value

Files = dict[str, str]
"""The text of each file, by its path in the new folder, in the order to show them."""


_SCHEMA_FILE: Final = "cm-toml.schema.json"
DEFAULT_FUNCTION: Final = "greet"

_MODE_LINES: Final[Mapping[str, str]] = {
    "spawn": '# One process per job. "prespawn" and "persistent" avoid the start-up cost.\nmode = "spawn"',
    "prespawn": '# One process per job; the next one is started ahead and waits on stdin.\nmode = "prespawn"',
    "persistent": '# One process serves many jobs, one after another: a line in, a line out.\nmode = "persistent"',
}
_ABOUT: Final = {
    "requirements.txt": "the packages of the image",
    "cm.toml": "the functions: their commands, types and tests",
    "query.json": "an example query",
    "result.json": "its result",
    "Dockerfile": "the image for Foundry",
    "Makefile": "make dev, make test, make image",
    _SCHEMA_FILE: "the keys of cm.toml, for editors",
    ".dockerignore": "files that are not part of the image",
    ".gitignore": "files that git ignores",
}
_IGNORED: Final = frozenset({".gitignore", ".dockerignore"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectArgs:
    """The command line of `cm-exec init`; `name` is None for the default."""

    directory: Path
    language: Language
    mode: ProjectMode
    name: str | None
    base_image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPlan:
    """The files of a new project by path, and a description of each, in the order to show them.

    `may_exist` are files that stay as they are if they exist; `notes` are for the user.
    """

    function: str
    files: dict[str, str]
    about: dict[str, str]
    may_exist: frozenset[str]
    notes: list[str] = field(default_factory=list)


def plan_greeting(args: ProjectArgs) -> ProjectPlan:
    """Plan a project whose function greets; with mode "service", one whose functions share a process."""
    language = args.language
    function = args.name or DEFAULT_FUNCTION
    values = greeting_values(language, args.mode, function, language.stem)
    if args.mode == "service":
        other = "farewell" if function != "farewell" else DEFAULT_FUNCTION
        values |= {"OTHERKEY": toml_key(other), "OTHER": toml_value(other)}
    files = dict(read_folder("service" if args.mode == "service" else "greeting", values))
    handler = dict(read_folder(f"{language.name}/{handler_shape(args.mode)}", values))
    return ProjectPlan(
        function=function,
        files={"cm.toml": files["cm.toml"], **handler, **files, **common_files(args)},
        about={language.handler: "the handler; change it as you like", **_ABOUT},
        may_exist=_IGNORED,
    )


def plan_example(args: ProjectArgs, example: str) -> ProjectPlan:
    """Plan a project from a template of a first real job."""
    files = dict(read_folder(f"examples/{example}", {"HEAD": _dockerfile_head(args)}))
    function = next(iter(tomli.loads(files["cm.toml"])["functions"]))
    return ProjectPlan(
        function=function,
        files={**common_files(args), **files},
        about={args.language.handler: "the handler; change it as you like", **_ABOUT},
        may_exist=_IGNORED,
    )


def handler_shape(mode: ProjectMode) -> str:
    """Return the folder of a language's handlers for a mode."""
    return {"persistent": "loop", "service": "service"}.get(mode, "once")


def greeting_values(language: Language, mode: ProjectMode, function: str, stem: str) -> dict[str, str]:
    """Return the values for the templates of a greeting in the program `stem`."""
    more = language.persistent if mode == "persistent" else []
    return {
        "KEY": toml_key(function),
        "FUNCTION": toml_value(function),
        "COMMAND": toml_value(language.command_of(stem)),
        "MODE": "\n".join([_MODE_LINES.get(mode, ""), *more]),
    }


def common_files(args: ProjectArgs) -> Files:
    """Return the files of every project: Dockerfile, Makefile, ignore files, and the schema for editors."""
    name = args.language.name
    build = read_part(f"{name}/build.mk")
    own = dict(read_folder(f"{name}/shared", {"HEAD": _dockerfile_head(args)}))
    values = {
        "IMAGE": image_name(args.directory),
        "PHONY": "build dev test image" if build else "dev test image",
        "BUILD": f"{build}\n" if build else "",
        "BUILT": "build " if build else "",
        "DEV": args.language.dev,
        "IGNORED": own.get(".gitignore", ""),
    }
    makefile, dockerignore = (read_part(f"all/{part}", values) for part in ("Makefile.in", "dot-dockerignore.in"))
    files = {**own, "Makefile": makefile, _SCHEMA_FILE: cm_toml_schema_text(), ".dockerignore": dockerignore}
    return dict(sorted(files.items(), key=lambda item: item[0].startswith(".")))


def _dockerfile_head(args: ProjectArgs) -> str:
    return read_part("all/Dockerfile.head").replace("@BASE@", args.base_image).rstrip("\n")


def image_name(folder: Path) -> str:
    """Derive a name for the image that every engine accepts from the folder's name."""
    parts = re.findall(r"[a-z0-9]+", Path(os.path.realpath(folder)).name.lower())
    return "-".join(parts)[:100].rstrip("-") or "cm-functions"


_OPTION: Final = "--from-python"
_INTERPRETER: Final = "python3"


def plan_python_target(args: ProjectArgs, target: str) -> ProjectPlan:
    """Plan a project for the function `MODULE:FUNCTION`, or for all functions of `MODULE` as one service.

    Its folder may already have a Makefile and a Dockerfile. Raises click.BadParameter.
    """
    block, functions, notes = python_block(args, target)
    tests = "\n".join(["# `cm-exec test` runs these.", *(function_tests(each, block) for each in functions)])
    files = dict(read_folder("function", {"BLOCK": block, "TESTS": tests}))
    first = functions[0]
    files["query.json"] = f"{sample_query(_inputs(first.name, block), first.inputs)}\n"
    return ProjectPlan(
        function=first.name,
        files={**files, **common_files(args)},
        about={"cm_handler.py": "calls the functions with their types", **_ABOUT},
        may_exist=_IGNORED | {"Dockerfile", "Makefile"},
        notes=notes,
    )


def _inputs(name: str, block: str) -> tuple[Input, ...] | None:
    return parse_config(block, path=Path("/cm.toml")).functions[name].inputs


def python_block(args: ProjectArgs, target: str) -> tuple[str, list[DeclaredFunction], list[str]]:
    """Return the tables of cm.toml for a target, its functions, and notes. Raises click.BadParameter."""
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
    return block, functions, list(declarations.notes)


def _declarations(folder: Path, target: str) -> Declarations:
    """Read the hints as they will be imported: from the folder, or from the packages of the interpreter."""
    exists = os.path.isdir(folder)
    try:
        return python_declarations(target, _INTERPRETER, folder=folder if exists else Path("/"))
    except DescriptionError as error:
        where = f"{folder}{'' if exists else ', which does not exist yet,'} and among the packages of {_INTERPRETER}"
        searched = f"; searched in {where}" if str(error).startswith("No module named") else ""
        module = target.partition(":")[0].partition(".")[0]
        if searched and any(os.path.exists(each) for each in (f"{module}.py", module)):
            searched += f"; {module} is in the current folder: leave out DIRECTORY, or copy it into {folder}"
        raise click.BadParameter(f"{target}: {error}{searched}", param_hint=_OPTION) from None


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


def sample_query(inputs: Sequence[Input] | None, members: Sequence[Member] | None = None) -> str:
    """Return a query that matches the inputs, as JSON, with a value where `members` have a choice."""
    choices = {each.name: each.choice for each in members or ()}
    query = {each.name: _chosen(sample(each.type), choices.get(each.name)) for each in inputs or ()}
    return json.dumps(query, ensure_ascii=False)


def _chosen(value: Any, choice: Mapping[str, Any] | None) -> Any:
    match choice, value:
        case {"value": chosen}, _:
            return chosen
        case {"fields": fields}, dict():
            return {key: _chosen(each, fields.get(key)) for key, each in value.items()}
        case Mapping(), list():
            return [_chosen(each, choice.get("elements")) for each in value]
        case Mapping(), dict():
            inner = choice.get("elements")
            return {key_text(_chosen(key, choice.get("keys"))): _chosen(each, inner) for key, each in value.items()}
    return value


def function_tests(function: DeclaredFunction, block: str) -> str:
    """Return the tests of a function: one that calls it, and one with a query that does not match its inputs.

    Only the author knows the result, so the first accepts any that matches `returns`.
    """
    inputs = _inputs(function.name, block)
    key = toml_value(function.name)
    lines = [
        "",
        "[[tests]]",
        'name = "can be called"',
        f"function = {key}",
        f"query_json = {toml_value(sample_query(inputs, function.inputs))}",
        "# Any result will do. Write the expected one instead, such as: result = 42",
        'result_matches = ""',
    ]
    if inputs is not None:
        nothing = "{}" if any(each.required for each in inputs) else "[]"
        lines += ["", "[[tests]]", f"function = {key}", f"query = {nothing}", 'error = "invalid_query"']
    return "\n".join(lines)
