"""Man pages of the program and its commands, from click.

click-man makes them too, but without the variables, the exit codes and the files, and each day anew with its date.
"""

import re
from collections.abc import Iterable
from typing import Final

from scripts.reference.command_line import Parameter, Program, Verb
from scripts.reference.exit_codes import EXIT_CODES

_PROGRAM_SHORT: Final = "any executable as a Palantir Foundry compute module"
_CONFIG_FILE: Final = ("cm.toml", "Maps functions to commands; in the current folder unless --config names another.")


def pages(program: Program) -> dict[str, str]:
    """Each page by its name, such as "cm-exec-invoke"."""
    verbs = {f"cm-exec-{verb.name}": _verb_page(verb, program) for verb in program.verbs}
    return {"cm-exec": _program_page(program), **verbs}


def _program_page(program: Program) -> str:
    commands = [(f"cm-exec-{verb.name}(1)", verb.short) for verb in program.verbs]
    return _page(
        "cm-exec",
        _PROGRAM_SHORT,
        ("SYNOPSIS", ".B cm\\-exec\n[COMMAND] [OPTIONS] [ARGUMENTS]"),
        ("DESCRIPTION", _prose([*program.about, "With no COMMAND it is run."])),
        ("COMMANDS", _entries(commands)),
        ("OPTIONS", _options(program.options)),
        ("EXIT STATUS", _entries((str(code), words) for code, words in EXIT_CODES.items())),
        ("ENVIRONMENT", _prose(["What a command takes from its environment is told on its page."])),
        ("FILES", _entries([_CONFIG_FILE])),
        ("SEE ALSO", _see_also(program.verbs)),
    )


def _verb_page(verb: Verb, program: Program) -> str:
    command, _, rest = verb.usage.partition(f" {verb.name}")
    variables = [(option.variable, _names(option)) for option in verb.options if option.variable]
    return _page(
        f"cm-exec-{verb.name}",
        _lowered(verb.short.removesuffix(".")),
        ("SYNOPSIS", f".B {_escaped(f'{command} {verb.name}')}\n{_escaped(rest.strip())}"),
        ("DESCRIPTION", _prose(verb.about)),
        ("OPTIONS", _options(verb.options)),
        ("ENVIRONMENT", _entries((name, f"Stands for {option}.") for name, option in variables)),
        ("EXIT STATUS", _prose(["As told in cm-exec(1), and what is said above."])),
        ("FILES", _entries([_CONFIG_FILE])),
        ("SEE ALSO", _see_also([other for other in program.verbs if other is not verb], first="cm-exec(1), ")),
    )


def _page(name: str, short: str, *sections: tuple[str, str]) -> str:
    head = f'.TH {name.upper()} 1 "" "cm\\-exec"\n.nh\n.ad l\n.SH NAME\n{_escaped(name)} \\- {_escaped(short)}\n'
    return head + "".join(f".SH {title}\n{text}\n" for title, text in sections if text)


def _prose(paragraphs: Iterable[str]) -> str:
    return "\n.PP\n".join(_line(text.replace("`", "")) for text in paragraphs)


def _entries(entries: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f".TP\n.B {_escaped(term)}\n{_line(text.replace('`', ''))}" for term, text in entries)


def _options(options: Iterable[Parameter]) -> str:
    return _entries((_names(option), _about(option)) for option in options)


def _names(option: Parameter) -> str:
    value = f" {option.value}" if option.value else ""
    return ", ".join(f"{name}{value}" for name in sorted(option.names, key=len))


def _about(option: Parameter) -> str:
    unless = f" Unless said: {option.unless_said}." if option.unless_said else ""
    variable = f" Variable: {option.variable}." if option.variable else ""
    return f"{option.help}{unless}{variable}"


def _see_also(verbs: Iterable[Verb], first: str = "") -> str:
    return _line(first + ", ".join(f"cm-exec-{verb.name}(1)" for verb in verbs))


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _line(text: str) -> str:
    """A line of text: one that begins with a dot or a quote would be a command of roff."""
    escaped = _escaped(text)
    return f"\\&{escaped}" if re.match(r"[.']", escaped) else escaped


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
