"""The reference of the commands, made from click."""

import re
from typing import Final

from scripts.reference.command_line import Parameter, Program, Verb
from scripts.reference.exit_codes import EXIT_CODES
from scripts.reference.markdown import slug, table

_CODE: Final = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*|cm\.toml|[A-Z]+(?:_[A-Z]+)+|\[[a-z]+\])(?![\w`])")
"""Options, the file, variables, and tables of the file."""


def blocks(program: Program) -> dict[str, str]:
    """Return the generated parts of the page."""
    return {
        "commands-index": _index(program),
        "commands": "\n".join(map(_section, program.verbs)),
        "exit-codes": table(["code", "of `cm-exec`"], ([str(code), _marked(why)] for code, why in EXIT_CODES.items())),
        "variables": _variables(program),
    }


def _index(program: Program) -> str:
    rows = ((f"[`cm-exec {verb.name}`](#{slug(_heading(verb))})", _marked(verb.short)) for verb in program.verbs)
    return table(["command", "what it does"], rows)


def _heading(verb: Verb) -> str:
    return f"cm-exec {verb.name}"


def _section(verb: Verb) -> str:
    parts = [f"## {_heading(verb)}", f"```text\n{verb.usage}\n```", *map(_marked, verb.about), _options(verb.options)]
    return "\n\n".join(parts) + "\n"


def _options(options: tuple[Parameter, ...]) -> str:
    rows = (
        (_written(option), _marked(option.help), _marked(option.default), _code(option.variable)) for option in options
    )
    return table(["option", "what it does", "default", "variable"], rows).strip()


def _written(option: Parameter) -> str:
    value = f" {option.value}" if option.value else ""
    return ", ".join(f"`{name}{value}`" for name in sorted(option.names, key=len, reverse=True))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _marked(text: str) -> str:
    """Mark options, files and variables in a help text as code, except in existing code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _CODE.sub(r"`\1`", part) for part in parts)


def _variables(program: Program) -> str:
    homes: dict[str, list[str]] = {}
    for verb in program.verbs:
        for option in verb.options:
            if option.variable:
                homes.setdefault(option.variable, []).append(f"`cm-exec {verb.name} {max(option.names, key=len)}`")
    return table(["variable", "stands for"], ((f"`{name}`", ", ".join(uses)) for name, uses in homes.items()))
