"""Man pages of the program, its commands and its file, made from click and from the types that read the file.

click-man makes such pages without variables, exit codes and files, and does not see commands that are loaded lazily.
"""

from collections.abc import Iterable
from typing import Final

from scripts.reference.cm_toml import Key, function_keys, launcher_keys, service_keys, test_keys
from scripts.reference.command_line import Parameter, Program, Verb
from scripts.reference.exit_codes import EXIT_CODES
from scripts.reference.roff import entries, escaped, line, page, prose

_PROGRAM_SHORT: Final = "run any executable as a Palantir Foundry compute module"
_FILES: Final = ("cm.toml", "Maps functions to commands; in the current folder unless --config names another.")


def pages(program: Program) -> dict[str, str]:
    """Return each page by its path under share/man, such as "man1/cm-exec-invoke.1"."""
    verbs = {f"man1/cm-exec-{verb.name}.1": _verb_page(verb, program) for verb in program.verbs}
    return {"man1/cm-exec.1": _program_page(program), **verbs, "man5/cm.toml.5": _file_page()}


def _program_page(program: Program) -> str:
    return page(
        "cm-exec",
        1,
        _PROGRAM_SHORT,
        ("SYNOPSIS", ".B cm\\-exec\n[COMMAND] [OPTIONS] [ARGUMENTS]"),
        ("DESCRIPTION", prose(*program.about, "With no COMMAND it is run.")),
        ("COMMANDS", entries((f"cm-exec-{verb.name}(1)", verb.short) for verb in program.verbs)),
        ("OPTIONS", _options(program.options)),
        ("EXIT STATUS", entries((str(code), words) for code, words in EXIT_CODES.items())),
        ("ENVIRONMENT", prose("The page of each command lists the variables that it reads.")),
        ("FILES", entries([_FILES])),
        ("SEE ALSO", _see_also(["cm.toml(5)"], program.verbs)),
    )


def _verb_page(verb: Verb, program: Program) -> str:
    command, _, rest = verb.usage.partition(f" {verb.name}")
    variables = [(option.variable, _names(option)) for option in verb.options if option.variable]
    return page(
        f"cm-exec-{verb.name}",
        1,
        f"{verb.short[:1].lower()}{verb.short[1:].removesuffix('.')}",
        ("SYNOPSIS", f".B {escaped(f'{command} {verb.name}')}\n{escaped(rest.strip())}"),
        ("DESCRIPTION", prose(*verb.about)),
        ("OPTIONS", _options(verb.options)),
        ("ENVIRONMENT", entries((name, f"Stands for {option}.") for name, option in variables)),
        ("EXIT STATUS", prose("See cm-exec(1), and the description above.")),
        ("FILES", entries([_FILES])),
        ("SEE ALSO", _see_also(["cm-exec(1)", "cm.toml(5)"], [other for other in program.verbs if other is not verb])),
    )


def _options(options: Iterable[Parameter]) -> str:
    return entries((_names(option), _about(option)) for option in options)


def _names(option: Parameter) -> str:
    value = f" {option.value}" if option.value else ""
    return ", ".join(f"{name}{value}" for name in sorted(option.names, key=len))


def _about(option: Parameter) -> str:
    default = f" Default: {option.default}." if option.default else ""
    variable = f" Variable: {option.variable}." if option.variable else ""
    return f"{option.help}{default}{variable}"


def _see_also(first: list[str], verbs: Iterable[Verb]) -> str:
    return line(", ".join([*first, *(f"cm-exec-{verb.name}(1)" for verb in verbs)]))


def _file_page() -> str:
    return page(
        "cm.toml",
        5,
        "maps the functions of a compute module to commands and services",
        (
            "DESCRIPTION",
            prose(
                "A TOML file with the tables [functions], [services], [defaults], [launcher], [types] and [[tests]].",
                'NAME = "command" under [functions] is short for a table with only a command. [defaults] sets options '
                "of functions and services for all of them.",
                "cm-exec check reports all errors in the file.",
            ),
        ),
        ("[functions.NAME]", _keys(function_keys())),
        ("[services.NAME]", _keys(service_keys())),
        ("[launcher]", _keys(launcher_keys())),
        ("[[tests]]", _keys(test_keys())),
        ("SEE ALSO", line("cm-exec(1), cm-exec-check(1), cm-exec-schema(1), cm-exec-test(1)")),
    )


def _keys(keys: Iterable[Key]) -> str:
    return entries((key.name, _facts(key)) for key in keys)


def _facts(key: Key) -> str:
    facts = [
        ("Accepts", key.accepts),
        ("Default", key.default),
        *key.more,
        ("Example", key.example.split("\n")[0]),
    ]
    return "\n".join([key.description, *(f"{label}: {text}" for label, text in facts)])
