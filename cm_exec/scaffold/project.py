"""What stands in a new folder."""

import re
from pathlib import Path
from typing import Final

from cm_exec.config.schema.json_schema import cm_toml_schema_text
from cm_exec.importers.declarations import toml_key, toml_value
from cm_exec.scaffold.languages import Language
from cm_exec.scaffold.plan import Asked, Plan
from cm_exec.scaffold.templates import Files, read_folder, read_part

_SCHEMA: Final = "cm-toml.schema.json"
_FUNCTION: Final = "greet"

_MODE: Final = {
    "spawn": '# A process a job. "prespawn" and "persistent" save it the start.\nmode = "spawn"',
    "prespawn": '# A process a job; the next one is started ahead, and waits on stdin.\nmode = "prespawn"',
    "persistent": '# A process serves one job after another: a line in, a line out.\nmode = "persistent"',
}
_ABOUT: Final = {
    "cm.toml": "the function: its command, types and tests",
    "query.json": "a query to try",
    "result.json": "its result",
    "Dockerfile": "the image for Foundry",
    "Makefile": "make dev, make test, make image",
    _SCHEMA: "the keys of cm.toml, for editors",
    ".dockerignore": "what the image is built without",
    ".gitignore": "what git leaves out",
}
_IGNORED: Final = frozenset({".gitignore", ".dockerignore"})


def plan_greeting(asked: Asked) -> Plan:
    """A function that greets, in a language."""
    function = asked.name or _FUNCTION
    files = dict(read_folder("greeting", _greeting_values(asked, function)))
    shape = "loop" if asked.mode == "persistent" else "once"
    return Plan(
        function=function,
        files={
            "cm.toml": files["cm.toml"],
            **dict(read_folder(f"{asked.language.name}/{shape}", {})),
            **files,
            **surroundings(asked),
        },
        about={asked.language.handler: "the handler; change it as you like", **_ABOUT},
        may_exist=_IGNORED,
    )


def _greeting_values(asked: Asked, function: str) -> dict[str, str]:
    language = asked.language
    more = [language.persistent] if asked.mode == "persistent" and language.persistent else []
    return {
        "KEY": toml_key(function),
        "FUNCTION": toml_value(function),
        "COMMAND": toml_value(language.command),
        "MODE": "\n".join([_MODE[asked.mode], *more]),
    }


def plan_python(asked: Asked, *, function: str, files: Files, notes: list[str]) -> Plan:
    """A folder that serves a Python function; it may be one with a Makefile and a Dockerfile already."""
    return Plan(
        function=function,
        files={**files, **surroundings(asked)},
        about={"cm_handler.py": "calls the function with its types", **_ABOUT},
        may_exist=_IGNORED | {"Dockerfile", "Makefile"},
        notes=notes,
    )


def surroundings(asked: Asked) -> Files:
    """What every folder has: Dockerfile, Makefile, what git and the image leave out, and the schema for editors."""
    name = asked.language.name
    build = read_part(f"{name}/build.mk")
    head = read_part("all/Dockerfile.head").replace("@BASE@", asked.base_image).rstrip("\n")
    own = dict(read_folder(f"{name}/shared", {"HEAD": head}))
    values = {
        "IMAGE": image_name(asked.directory),
        "PHONY": "build dev test image" if build else "dev test image",
        "BUILD": f"{build}\n" if build else "",
        "BUILT": "build " if build else "",
        "DEV": asked.language.dev,
        "IGNORED": own.get(".gitignore", ""),
    }
    makefile, dockerignore = (read_part(f"all/{part}", values) for part in ("Makefile.in", "dot-dockerignore.in"))
    files = {**own, "Makefile": makefile, _SCHEMA: cm_toml_schema_text(), ".dockerignore": dockerignore}
    return dict(sorted(files.items(), key=lambda item: item[0].startswith(".")))


def needs_build(language: Language) -> bool:
    """Whether there is something to compile, or to install, before the first run."""
    return bool(read_part(f"{language.name}/build.mk"))


def image_name(folder: Path) -> str:
    """A name for the image that every engine takes, from the folder's."""
    parts = re.findall(r"[a-z0-9]+", folder.resolve().name.lower())
    return "-".join(parts)[:100].rstrip("-") or "cm-functions"
