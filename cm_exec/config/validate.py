"""Read the tables of a cm.toml key by key, so that all errors are found at once, with what was probably meant."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
import tomli
from msgspec import UNSET, Struct, field

from cm_exec.config.schema import File, LauncherTable
from cm_exec.config.schema.functions import FunctionOptions, FunctionTable
from cm_exec.config.schema.keys import KeySpec, converted, key_spec
from cm_exec.errors import Problem
from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES
from cm_exec.text import closest_match, did_you_mean, quoted, toml_key

KeyPath = tuple[str | int, ...]
"""The place of a value, such as ("functions", "thumbnail", "command", 1)."""

_LONGEST_NAME: Final = 60
_LARGEST_SHOWN: Final = 10**30
_LONGEST_SUGGESTION: Final = 80


class Diagnostics(Struct):
    """The problems found so far, while a file is read. `find_line` returns the line of a key."""

    find_line: Callable[[KeyPath], int | None]
    problems: list[Problem] = field(default_factory=list)

    def add(self, at: KeyPath, message: str) -> None:
        """Record a problem with its place."""
        self.problems.append(Problem(key=dotted(at), message=message, line=self.find_line(at)))


def dotted(at: KeyPath) -> str:
    """Return the key as TOML writes it, with quotes if they are needed: `functions."a b".command[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_shown_key(part)}" for part in at).removeprefix(".")


def _shown_key(name: str) -> str:
    return toml_key(name) if len(name) <= _LONGEST_NAME else quoted(name)


def describe(value: object, *, private: bool = False) -> str:
    """Return a value as an error shows it; only its kind if it may be a secret or is long."""
    match value:
        case str() if value and not private:
            return quoted(value)
        case bool() if not private:
            return str(value).lower()
        case float() if not private:
            return str(value)
        case int() if not private and abs(value) <= _LARGEST_SHOWN:
            return str(value)
        case _:
            return _kind(value)


def _kind(value: object) -> str:  # noqa: PLR0911 - one return per type of TOML
    match value:
        case str():
            if not value.strip():
                return "a blank string" if value else "an empty string"
            return "a string with NUL" if "\0" in value else "a string"
        case bool():
            return "a boolean"
        case int():
            return "an integer" if abs(value) <= _LARGEST_SHOWN else "a huge integer"
        case float():
            return "a number"
        case list():
            return "an array" if value else "an empty array"
        case dict():
            return "a table" if value else "an empty table"
        case _:
            return "a date or time"


_SIZE: Final = r"(?i)\s*(\d+)\s*([kmg])(?:i?b)?\s*"
_SECONDS: Final = r"(?i)\s*(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?)\s*"
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_REQUEST: Final = r"(?i)\s*(get|post|put|patch|delete)\s+/?(\S*)\s*"


def suggest_value(value: object, expected: Any, spec: KeySpec) -> str | None:
    """Return the value that was probably meant, in TOML; None if nothing similar fits the type `expected`."""
    for toml in _candidates(value, spec):
        if len(toml) <= _LONGEST_SUGGESTION and _fits(toml, expected):
            return toml
    return None


def _candidates(value: object, spec: KeySpec) -> Iterator[str]:
    match value:
        case str():
            yield from _candidates_for_text(value, spec)
        case bool():
            yield quoted(str(value).lower())
        case float() if value.is_integer():
            yield f"{value:.0f}"
        case int():
            yield quoted(describe(value))


def _candidates_for_text(text: str, spec: KeySpec) -> Iterator[str]:
    if choice := closest_match(text, spec.choices):
        yield quoted(choice)
    if size := re.fullmatch(_SIZE, text):
        yield quoted(f"{size[1]}{size[2].upper()}iB")
    if seconds := re.fullmatch(_SECONDS, text):
        yield f"{float(seconds[1]) * _UNIT_SECONDS[seconds[2][0].lower()]:g}"
    yield text.strip()
    yield text.strip().lower()
    if request := re.fullmatch(_REQUEST, text):
        yield quoted(f"{request[1].upper()} /{request[2]}")
    yield quoted(re.sub(r"^https?://[^:/]*", "http://127.0.0.1", text))
    if spec.item is not None:
        yield f"[{', '.join(map(quoted, text.replace(',', ' ').split()))}]"


def _fits(toml: str, expected: Any) -> bool:
    try:
        converted(tomli.loads(f"value = {toml}")["value"], expected)
    except (ValueError, RecursionError):
        return False
    return True


def read_table(table: object, shape: type[Struct], at: KeyPath, diagnostics: Diagnostics) -> dict[str, Any]:
    """Return the valid values of a table by key, converted to the types of `shape`.

    Keys that are invalid, unknown or missing are left out and reported.
    """
    if not isinstance(table, dict):
        diagnostics.add(at, f"expected a table, found {describe(table)}")
        return {}
    fields = {known.encode_name: known for known in msgspec.structs.fields(shape)}
    values = {
        key: _read_key(value, fields[key].type, (*at, key), diagnostics)
        for key, value in table.items()
        if key in fields
    }
    meant = {report_unknown_key(key, table, shape, at, diagnostics) for key in table if key not in fields}
    for key, known in fields.items():
        if known.required and key not in table and key not in meant:
            diagnostics.add((*at, key), f"expected {key_spec(known.type).words}, found nothing")
    return {key: value for key, value in values.items() if value is not UNSET}


def _read_key(value: object, expected: Any, at: KeyPath, diagnostics: Diagnostics) -> Any:
    for place, message in _rule_violations(str(at[-1]), value):
        diagnostics.add((*at, place), message)
    return read_value(value, expected, at, diagnostics)


def read_value(value: object, expected: Any, at: KeyPath, diagnostics: Diagnostics) -> Any:
    """Return the value converted to the type; report it and return UNSET if it does not fit."""
    try:
        return converted(value, expected)
    except ValueError:
        known = len(diagnostics.problems)
    _read_items(value, expected, at, diagnostics)
    if len(diagnostics.problems) == known:
        diagnostics.add(at, mismatch(value, expected))
    return UNSET


def _read_items(value: object, expected: Any, at: KeyPath, diagnostics: Diagnostics) -> None:
    """Report the items of an array or table that do not fit."""
    spec = key_spec(expected)
    if isinstance(value, list) and spec.item is not None:
        for index, item in enumerate(value):
            read_value(item, spec.item, (*at, index), diagnostics)
    if isinstance(value, Mapping) and spec.entry is not None:
        for name, entry in value.items():
            read_value(name, spec.entry[0], (*at, name), diagnostics)
            read_value(entry, spec.entry[1], (*at, name), diagnostics)


def mismatch(value: object, expected: Any) -> str:
    """Return what is expected and what was found, for a value that does not fit."""
    spec = key_spec(expected)
    meant = None if spec.private else suggest_value(value, expected, spec)
    message = f"expected {spec.words}, found {describe(value, private=spec.private)}"
    return f"{message}; did you mean {meant}?" if meant else message


def _rule_violations(key: str, value: object) -> Iterator[tuple[str | int, str]]:
    """Check what the type of a key cannot express.

    Yields the name or index inside the value, and a message. The raw value is checked before conversion, so that one
    invalid item does not hide others.
    """
    match key, value:
        case "command", [str(program), *_] if not program.strip():
            yield 0, "expected a program, found a blank string"
        case "env", dict():
            yield from _reserved((name, name) for name in value)
        case "inherit_env", list():
            yield from _reserved((index, name) for index, name in enumerate(value) if isinstance(name, str))


def _reserved(places: Iterator[tuple[str | int, str]]) -> Iterator[tuple[str | int, str]]:
    for place, name in places:
        if name in CONNECTION_VARIABLES:
            yield place, f"{name} belongs to the connection with the runtime and never reaches a handler"
        elif name in JOB_VARIABLES:
            yield place, f"{name} is set by cm-exec for each job"


_TABLES: Final[Mapping[type[Struct], str]] = {
    LauncherTable: "[launcher]",
    FunctionOptions: "[defaults] or [functions.NAME]",
    FunctionTable: "[functions.NAME]",
    File: "the top of the file",
}
_ALIASES: Final = {
    "framing": "protocol",
    **dict.fromkeys(("args", "argv", "cmd", "entrypoint", "exec", "program", "run", "script", "shell"), "command"),
    **dict.fromkeys(("dir", "directory", "folder", "workdir", "working_dir", "working_directory"), "cwd"),
    **dict.fromkeys(("environ", "environment", "variables", "vars"), "env"),
}
"""What other programs call a key."""


def meant_key(key: str, shape: type[Struct]) -> str | None:
    """Return the key of `shape` that an unknown key was probably meant to be."""
    keys = shape.__struct_encode_fields__
    alias = _ALIASES.get(key)
    return alias if alias in keys else closest_match(key, keys)


def report_unknown_key(
    key: str, table: Mapping[str, Any], shape: type[Struct], at: KeyPath, diagnostics: Diagnostics
) -> str | None:
    """Report a key that is not in `shape`. Return the key that was probably meant."""
    meant = meant_key(key, shape)
    diagnostics.add((*at, key), "; ".join(_unknown(key, table, shape, meant)))
    return meant


def _unknown(key: str, table: Mapping[str, Any], shape: type[Struct], meant: str | None) -> Iterator[str]:
    home = next((name for other, name in _TABLES.items() if key in other.__struct_encode_fields__), None)
    if home:
        yield f"not known here, it belongs in {home}"
    elif shape is File and not meant and _is_command(table[key]):
        yield "not known here, a function belongs in [functions]"
    else:
        yield "unknown key"
    keys = sorted(shape.__struct_encode_fields__)
    yield from filter(None, [did_you_mean(meant or key, keys, otherwise="" if home else "the keys here are")])


def _is_command(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(word, str) for word in value)
    return isinstance(value, str) or (isinstance(value, dict) and "command" in value)


def dotted_name(name: str, table: object) -> str | None:
    """Return the whole name of a function such as `a.b`, which TOML reads as nested tables if it has no quotes."""
    options = FunctionTable.__struct_encode_fields__
    while isinstance(table, dict) and table and not any(key in options or closest_match(key, options) for key in table):
        key, table = next(iter(table.items()))
        name = f"{name}.{key}"
        if _is_command(table):
            return name
    return None
