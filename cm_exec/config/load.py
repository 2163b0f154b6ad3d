"""Read a cm.toml, and override its `[launcher]` values by the command line and the environment."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

import msgspec
import tomli
from msgspec.structs import replace

from cm_exec.config import Config, Launcher
from cm_exec.config.functions import (
    FunctionReader,
    build_function,
    build_service,
    read_defaults,
    read_services,
    users_of,
    value_of,
)
from cm_exec.config.schema import File, LauncherTable
from cm_exec.config.schema.keys import converted
from cm_exec.config.signature import TypeReader
from cm_exec.config.test_cases import read_tests
from cm_exec.config.validate import Diagnostics, KeyPath, mismatch, read_table, report_unknown_key
from cm_exec.errors import ConfigError, Problem

_REMEDY: Final = "; create a project with `cm-exec init`, or name the file with --config or CM_EXEC_CONFIG"


_LARGEST_CONFIG: Final = 16 * 1024 * 1024
_LARGEST: Final = 1024 * 1024 * 1024
_BLOCK: Final = 1024 * 1024


def read_file(path: Path, most: int = _LARGEST) -> bytes:
    """Read a file. Raises OSError, also if it has more than `most` bytes: a device such as /dev/zero has no end."""
    blocks: list[bytes] = []
    left = most
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            blocks.append(block)
            left -= len(block)
            if left < 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return b"".join(blocks)


def load_config(path: Path) -> Config:
    """Read a cm.toml. Only this file is read: whether folders and programs exist is not checked here.

    Raises ConfigError with all errors in it.
    """
    try:
        absolute, content = path.absolute(), read_file(path, _LARGEST_CONFIG)
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}" + (_REMEDY if isinstance(error, FileNotFoundError) else ""))
    return parse_config(_decode(content, path), path=absolute, shown_as=path)


def parse_config(text: str, *, path: Path, shown_as: Path | None = None) -> Config:
    """Read the text of a cm.toml. `path` is its absolute path; `shown_as` is the path in error messages.

    Raises ConfigError.
    """
    shown_as, folder = shown_as or path, path.parent
    document = _parse(text, shown_as)
    diagnostics = Diagnostics(LineIndex(text).find)
    _report_unknown_tables(document, diagnostics)
    entries = document.get("functions", {})
    defaults = read_defaults(document.get("defaults", {}), diagnostics)
    launcher = read_table(document.get("launcher", {}), LauncherTable, ("launcher",), diagnostics)
    service_tables = read_services(document.get("services", {}), entries, defaults, diagnostics)
    types = TypeReader.of_table(document.get("types", {}), diagnostics)
    reader = FunctionReader(entries, defaults, service_tables, types, diagnostics)
    parsed = reader.read_all() if "functions" in document else {}
    names = list(entries) if isinstance(entries, dict) else []
    tests = read_tests(document.get("tests", []), names, folder, diagnostics)
    if diagnostics.problems:
        raise ConfigError(shown_as, diagnostics.problems)
    services = {
        name: build_service(name, table, users_of(name, entries), folder)
        for name, table in service_tables.items()
        if table is not None
    }
    functions = {name: build_function(name, each, services, folder) for name, each in parsed.items()}
    own_services = {function.service.name: function.service for function in functions.values() if function.service}
    return Config(
        path=path,
        functions=MappingProxyType(functions),
        services=MappingProxyType(services | own_services),
        launcher=_launcher(LauncherTable(**launcher)),
        tests=tuple(tests),
    )


def _refuse(path: Path, message: str) -> NoReturn:
    raise ConfigError(path, [Problem(key="", message=message)]) from None


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")  # editors on Windows write a byte-order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        _refuse(path, f"line {line}, byte {column}: expected UTF-8, found the byte 0x{content[error.start]:02x}")


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        _refuse(path, f"line {error.lineno}, column {error.colno}: not valid TOML: {error.msg}")
    except ValueError:  # from int(), which refuses thousands of digits
        _refuse(path, "not valid TOML: an integer has thousands of digits")
    except RecursionError:
        _refuse(path, "not valid TOML: hundreds of nested arrays or tables")


def _report_unknown_tables(document: Mapping[str, Any], diagnostics: Diagnostics) -> None:
    known = File.__struct_encode_fields__
    meant = {report_unknown_key(key, document, File, (), diagnostics) for key in document if key not in known}
    if "functions" not in document and "functions" not in meant:
        diagnostics.add(("functions",), "expected at least one function, found none")


def _launcher(table: LauncherTable) -> Launcher:
    return Launcher(**{key: value_of(getattr(table, key)) for key in table.__struct_fields__})


def with_overrides(config: Config, **launcher_keys: Any) -> Config:
    """Return the configuration with other `[launcher]` values; None, for an option that is not given, changes nothing.

    Raises ValueError for a value that cm.toml does not accept either, such as `drain_timeout` nan.
    """
    given = {key: value for key, value in launcher_keys.items() if value is not None}
    fields = {field.name: field.type for field in msgspec.structs.fields(LauncherTable)}
    for key, value in given.items():
        try:
            converted(value, fields[key])
        except ValueError:
            raise ValueError(f"{key}: {mismatch(value, fields[key])}") from None
    return replace(config, launcher=replace(config.launcher, **given))


_NAME: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*"
_TABLE: Final = rf"\s*\[{_KEY}\]"
_ARRAY_TABLE: Final = rf"\s*\[\[{_KEY}\]\]"
_VALUE: Final = rf"{_KEY}="
_MULTI_LINE: Final = ('"""', "'''")


class LineIndex:
    """Finds keys in a text that is valid TOML."""

    def __init__(self, text: str) -> None:
        self._text = text

    def find(self, at: KeyPath) -> int | None:
        """Return the line of a key, or of the nearest table or value around it; None for the whole file."""
        while at:
            if at in self._lines:
                return self._lines[at]
            at = at[:-1]
        return None

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        lines: dict[KeyPath, int] = {}
        for place, line in _places(self._text):
            for end in range(1, len(place) + 1):
                lines.setdefault(place[:end], line)
        return lines


def _places(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Yield each table and key with its line."""
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if closing:  # inside of a text of several lines
            closing = "" if closing in line else closing
        elif match := re.match(_ARRAY_TABLE, line):
            name = _resolved(_names(match[1]), counts)
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            yield table, number
        elif match := re.match(_TABLE, line):
            table = _resolved(_names(match[1]), counts)
            yield table, number
        elif match := re.match(_VALUE, line):
            yield (*table, *_names(match[1])), number
            value = line[match.end() :].lstrip()
            closing = next((mark for mark in _MULTI_LINE if value.startswith(mark) and value.count(mark) == 1), "")


def _names(key: str) -> tuple[str, ...]:
    """Return the parts of a dotted key."""
    inner: Any = tomli.loads(f"{key} = 0")
    names = []
    while isinstance(inner, dict):
        ((name, inner),) = inner.items()
        names.append(name)
    return tuple(names)


def _resolved(names: tuple[str, ...], counts: dict[KeyPath, int]) -> KeyPath:
    """Insert the index of the last element after each array of tables in the path, except at its end."""
    place: KeyPath = ()
    for position, name in enumerate(names):
        place = (*place, name)
        if place in counts and position < len(names) - 1:
            place = (*place, counts[place])
    return place
