"""What `cm-exec dev` prints first: where everything is, and the lines to copy."""

import json
import shlex
from pathlib import Path
from urllib.parse import quote

from cm_exec import __version__
from cm_exec.config import Config
from cm_exec.datatypes.sample import sample
from cm_exec.devserver.worker_set import WorkerSource
from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.worker_files import CONTAINER_HOST, Style
from cm_exec.protocol.function_schema import Input
from cm_exec.terminal import BOLD, CYAN, DIM, Terminal
from cm_exec.text import count_text

_FUNCTIONS_SHOWN = 8


def print_banner(terminal: Terminal, runtime: LocalRuntime, source: WorkerSource | None, shown_as: Path) -> None:
    """Print the console, the way to call, the functions."""
    head = terminal.styled(f"cm-exec dev {__version__}", BOLD)
    terminal.write(f"\n  {head}  {terminal.styled(_described(source, shown_as), DIM)}\n")
    _entry(terminal, "console", terminal.styled(runtime.console_url, CYAN))
    name, query = "NAME", "{}"
    if isinstance(source, Config):
        name = next(iter(source.functions))
        query = _example(source.functions[name].inputs)
    token = shlex.quote(f"Authorization: Bearer {runtime.caller_token}")
    address = f"{runtime.url}/functions/{quote(name, safe='')}"
    _entry(terminal, "call", f"curl -H {token} {address} -d {shlex.quote(query)}")
    if isinstance(source, Config):
        _entry(terminal, "", f"cm-exec invoke --dev {shlex.quote(name)} {shlex.quote(query)}")
    slots = count_text(runtime.files.slots, "slot")
    plain = f", http://127.0.0.1:{runtime.files.plain_port} (plain API)" if runtime.files.plain_port else ""
    _entry(terminal, "runtime", f"{runtime.files.url}{plain}, {slots}")
    terminal.write("")


def print_for_other_worker(terminal: Terminal, runtime: LocalRuntime, style: Style, env_file: Path | None) -> None:
    """Print what another worker needs: in a shell, in a container, in one that does not share the network."""
    files = runtime.files
    terminal.write(terminal.styled("  In the shell of a worker:\n", BOLD))
    terminal.write(files.export_lines(style))
    terminal.write(terminal.styled("  A worker in a container:\n", BOLD))
    arguments = files.docker_arguments(env_file if files.shares_network else None, style)
    terminal.write(f"docker run --rm {shlex.join(arguments)} IMAGE\n")
    host = CONTAINER_HOST if files.shares_network else files.host
    arguments = files.docker_arguments(None if files.shares_network else env_file, style, host=host)
    terminal.write(
        terminal.styled("  Where a container has a network of its own (on Linux with --listen 0.0.0.0):\n", DIM)
    )
    terminal.write(f"docker run --rm {shlex.join(arguments)} IMAGE\n")


def _entry(terminal: Terminal, name: str, value: str) -> None:
    terminal.write(f"  {terminal.styled(f'{name:<8}', DIM)}  {value}")


def _described(source: WorkerSource | None, shown_as: Path) -> str:
    if source is None:
        return "waits for a worker that you start"
    if not isinstance(source, Config):
        return shlex.join(source)
    names = list(source.functions)
    shown = ", ".join(names[:_FUNCTIONS_SHOWN]) + (", …" if len(names) > _FUNCTIONS_SHOWN else "")
    return f"{shown_as}: {shown}"


def _example(inputs: tuple[Input, ...] | None) -> str:
    if inputs is None:
        return "{}"
    return json.dumps({each.name: sample(each.type) for each in inputs if each.required}, ensure_ascii=False)
