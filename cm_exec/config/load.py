"""Reading a cm.toml."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import tomli
from msgspec import UNSET

from cm_exec.config.diagnostics import Findings
from cm_exec.config.functions import read_defaults, read_functions, resolved
from cm_exec.config.model import Config, Launcher
from cm_exec.config.schema import File, LauncherTable
from cm_exec.config.signature import read_types
from cm_exec.config.test_cases import read_tests
from cm_exec.config.unknown import refuse_key
from cm_exec.config.validate import read_table
from cm_exec.errors import ConfigError, Problem


def load_config(path: Path) -> Config:
    """Read a cm.toml. Nothing but this one file is touched: that folders and programs exist is not checked here.

    Raises ConfigError with all mistakes in it.
    """
    try:
        absolute, content = path.absolute(), path.read_bytes()
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}")
    return parse_config(_decode(content, path), path=absolute, shown_as=path)


def parse_config(text: str, *, path: Path, shown_as: Path | None = None) -> Config:
    """Read the text of a cm.toml. `path` is where it stands, absolute; `shown_as` is how errors call it.

    Raises ConfigError.
    """
    shown_as = shown_as or path
    findings = Findings()
    document = _parse(text, shown_as)
    _refuse_keys(document, findings)
    defaults = read_defaults(document.get("defaults", {}), findings)
    launcher = read_table(document.get("launcher", {}), LauncherTable, ("launcher",), findings)
    types = read_types(document.get("types", {}), findings)
    functions = read_functions(document["functions"], defaults, types, findings) if "functions" in document else {}
    tests = read_tests(document.get("tests", []), _names(document), path.parent, findings)
    if findings.problems:
        raise ConfigError(shown_as, findings.problems)
    return Config(
        path=path,
        functions=MappingProxyType(
            {name: resolved(name, declared, path.parent) for name, declared in functions.items()}
        ),
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
    except ValueError:  # the one thing that int() refuses
        _refuse(path, "not valid TOML: an integer has thousands of digits")
    except RecursionError:
        _refuse(path, "not valid TOML: arrays or tables are nested by the hundreds")


def _refuse_keys(document: Mapping[str, Any], findings: Findings) -> None:
    known = File.__struct_encode_fields__
    meant = {refuse_key(key, document, File, (), findings) for key in document if key not in known}
    if "functions" not in document and "functions" not in meant:
        findings.add(("functions",), "expected at least one function, found none")


def _names(document: Mapping[str, Any]) -> list[str]:
    """The functions by name, the wrong ones too."""
    functions = document.get("functions")
    return list(functions) if isinstance(functions, dict) else []


def _launcher(table: LauncherTable) -> Launcher:
    return Launcher(
        concurrency=None if table.concurrency is UNSET else table.concurrency,
        drain_timeout=table.drain_timeout,
        log_format=table.log_format,
        log_level=table.log_level,
        tls_server_name=None if table.tls_server_name is UNSET else table.tls_server_name,
    )
