"""The plan of a new project: its files, and a few words about each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import tomli

from cm_exec.config.schema.json_schema import cm_toml_schema_text
from cm_exec.config.toml import toml_key, toml_value
from cm_exec.scaffold.languages import Language, ProjectMode
from cm_exec.scaffold.templates import Files, read_folder, read_part

_SCHEMA: Final = "cm-toml.schema.json"
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
    _SCHEMA: "the keys of cm.toml, for editors",
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
    head = read_part("all/Dockerfile.head").replace("@BASE@", args.base_image).rstrip("\n")
    files = dict(read_folder(f"examples/{example}", {"HEAD": head}))
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
    more = [language.persistent] if mode == "persistent" and language.persistent else []
    return {
        "KEY": toml_key(function),
        "FUNCTION": toml_value(function),
        "COMMAND": toml_value(language.command_of(stem)),
        "MODE": "\n".join([_MODE_LINES.get(mode, ""), *more]),
    }


def plan_python(args: ProjectArgs, *, function: str, files: Files, notes: list[str]) -> ProjectPlan:
    """Plan a project that serves Python functions; its folder may already have a Makefile and a Dockerfile."""
    return ProjectPlan(
        function=function,
        files={**files, **common_files(args)},
        about={"cm_handler.py": "calls the functions with their types", **_ABOUT},
        may_exist=_IGNORED | {"Dockerfile", "Makefile"},
        notes=notes,
    )


def common_files(args: ProjectArgs) -> Files:
    """Return the files of every project: Dockerfile, Makefile, ignore files, and the schema for editors."""
    name = args.language.name
    build = read_part(f"{name}/build.mk")
    head = read_part("all/Dockerfile.head").replace("@BASE@", args.base_image).rstrip("\n")
    own = dict(read_folder(f"{name}/shared", {"HEAD": head}))
    values = {
        "IMAGE": image_name(args.directory),
        "PHONY": "build dev test image" if build else "dev test image",
        "BUILD": f"{build}\n" if build else "",
        "BUILT": "build " if build else "",
        "DEV": args.language.dev,
        "IGNORED": own.get(".gitignore", ""),
    }
    makefile, dockerignore = (read_part(f"all/{part}", values) for part in ("Makefile.in", "dot-dockerignore.in"))
    files = {**own, "Makefile": makefile, _SCHEMA: cm_toml_schema_text(), ".dockerignore": dockerignore}
    return dict(sorted(files.items(), key=lambda item: item[0].startswith(".")))


def needs_build(language: Language) -> bool:
    """Report whether something must be compiled or installed before the first run."""
    return bool(read_part(f"{language.name}/build.mk"))


def image_name(folder: Path) -> str:
    """Derive a name for the image that every engine accepts from the folder's name."""
    parts = re.findall(r"[a-z0-9]+", folder.resolve().name.lower())
    return "-".join(parts)[:100].rstrip("-") or "cm-functions"
