"""What `cm-exec dev` prints first: where everything is, and the lines to copy."""

import json
import shlex
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cm_exec import __version__
from cm_exec.config import Config
from cm_exec.datatypes.model import DataType, DecimalType, ListType, MapType, SetType, SimpleType, StructType
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.worker_files import Style
from cm_exec.protocol.function_schema import Input
from cm_exec.terminal import BOLD, CYAN, DIM, Terminal


def print_banner(terminal: Terminal, runtime: LocalRuntime, config: Config | None, shown_as: Path) -> None:
    """The console, the way to call, the functions."""
    head = terminal.styled(f"cm-exec dev {__version__}", BOLD)
    terminal.write(f"\n  {head}  {terminal.styled(_described(config, shown_as), DIM)}\n")
    _entry(terminal, "console", terminal.styled(runtime.console_url, CYAN))
    if config is not None:
        name = next(iter(config.functions))
        query = _example(config.functions[name].inputs)
        _entry(terminal, "call", f"curl {runtime.url}/functions/{quote(name, safe='')} -d {shlex.quote(query)}")
        _entry(terminal, "", f"cm-exec invoke --dev {shlex.quote(name)} {shlex.quote(query)}")
    else:
        _entry(terminal, "call", f"curl {runtime.url}/functions/NAME -d '{{}}'")
    _entry(terminal, "runtime", f"https://localhost:{runtime.port}, {_slots(runtime)}")
    terminal.write("")


def print_for_other_worker(terminal: Terminal, runtime: LocalRuntime, style: Style) -> None:
    """What a worker needs that somebody else starts: in a shell, in a container, in one on Docker Desktop."""
    files = runtime.files
    terminal.write(terminal.styled("  In the shell of a worker:\n", BOLD))
    terminal.write(files.export_lines(style))
    terminal.write(terminal.styled("  A worker in a container:\n", BOLD))
    terminal.write(f"docker run --rm {shlex.join(files.docker_arguments(style))} IMAGE\n")
    terminal.write(terminal.styled("  Docker Desktop: the same with\n", DIM))
    terminal.write(f"docker run --rm {shlex.join(files.docker_arguments(style, host='host.docker.internal'))} IMAGE\n")


def _entry(terminal: Terminal, name: str, value: str) -> None:
    terminal.write(f"  {terminal.styled(f'{name:<8}', DIM)}  {value}")


def _described(config: Config | None, shown_as: Path) -> str:
    if config is None:
        return "no worker of its own"
    names = list(config.functions)
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")  # noqa: PLR2004 - a line's worth
    return f"{shown_as}: {shown}"


def _slots(runtime: LocalRuntime) -> str:
    slots = runtime.files.slots
    return f"{slots} job{'s' if slots != 1 else ''} at a time"


def _example(inputs: tuple[Input, ...] | None) -> str:
    if inputs is None:
        return "{}"
    return json.dumps({each.name: _value(each.type) for each in inputs if each.required}, ensure_ascii=False)


def _value(type_: DataType) -> object:
    """A value of the type, to be changed by the reader."""
    match type_:
        case SimpleType(name):
            return _SIMPLE.get(name, "…")
        case DecimalType():
            return "1.5"
        case ListType(element) | SetType(element):
            return [_value(element)]
        case MapType(_, value):
            return {"key": _value(value)}
        case StructType(fields):
            return {field.name: _value(field.type) for field in fields if field.required}
        case _:
            return None


_SIMPLE: Final[dict[str, object]] = {
    "boolean": True,
    "short": 1,
    "integer": 1,
    "long": 1,
    "float": 1.5,
    "double": 1.5,
    "byte": "AA==",
    "binary": "AA==",
    "date": "1969-07-20",
    "timestamp": 0,
    "unknown": None,
}
