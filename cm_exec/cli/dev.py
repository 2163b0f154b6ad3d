"""`cm-exec dev`: a local runtime with a web console, and a worker that is connected to it."""

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from cm_exec.cli.options import (
    FiniteRange,
    HeaderFile,
    HeaderText,
    config_option,
    env_style_option,
    require_program,
)
from cm_exec.devserver import DevArgs
from cm_exec.errors import LOCAL_RUNTIME, require_extra

_PORT: Final = click.IntRange(0, 65535)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def _checked_hosts(_context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Return one host, or several. Raises click.BadParameter for one that a certificate cannot have."""
    for host in (value,) if isinstance(value, str) else value:
        if not _HOST.fullmatch(host) and not _is_address(host):
            message = f"expected a host such as build.example or 192.0.2.1, without port, found {host!r}"
            raise click.BadParameter(message, param=parameter)
    return value


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(text).version)
    return False


def _switch_off(option: str, name: str, help_: str) -> Callable[[Any], Any]:
    """Return an option that makes a value false."""
    return click.option(option, name, is_flag=True, flag_value=False, default=True, help=help_)


@click.command(name="dev", context_settings={"allow_interspersed_args": False})
@click.argument("worker_command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@config_option
@click.option("--port", type=_PORT, help="Port for calls and the console; 0: any free port.  [default: 8950]")
@click.option("--runtime-port", type=_PORT, help="Port of the protocol; 0: any free port.  [default: 8945]")
@click.option(
    "--runtime-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep tokens, CA and ports in DIR, so that a worker's settings stay valid.  [default: a new folder]",
)
@click.option(
    "--listen",
    metavar="ADDR",
    default="127.0.0.1",
    callback=_checked_hosts,
    show_default=True,
    help="Address to listen on, such as 0.0.0.0 for workers in containers.",
)
@click.option(
    "--name",
    "host_names",
    multiple=True,
    callback=_checked_hosts,
    metavar="NAME",
    help="Host name of this machine for workers elsewhere: in the certificate and the env file. Repeatable.",
)
@click.option("--concurrency", type=click.IntRange(min=1), help="Concurrent jobs.  [default: cm.toml's, else 1]")
@click.option(
    "--call-timeout",
    type=FiniteRange(min=0),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="Default timeout for callers that do not set one; 0 means no limit.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Inject a fault, such as latency=0.2, poll.503@0.1 or result.reset*3. Repeatable.",
)
@click.option("--user-id", type=HeaderText(), metavar="ID", help="User ID of callers that send none.")
@click.option(
    "--auth-header-file",
    "auth_header",
    type=HeaderFile(),
    metavar="FILE",
    help="File with the authHeader of callers that send none.",
)
@_switch_off(
    "--no-worker",
    "starts_worker",
    "Start no worker. Print the settings for one that you start, for example in a container.",
)
@click.option(
    "--env-file",
    type=_FILE,
    metavar="FILE",
    help="Write the worker's variables to FILE, as `docker run --env-file` reads them.",
)
@env_style_option
@click.option(
    "--ready-file",
    type=_FILE,
    metavar="FILE",
    help="Write addresses, token and variables to FILE as JSON once the worker polls.",
)
@click.option("--fail-on-breach", "fails_on_breach", is_flag=True, help="Exit with 1 after a protocol violation.")
@click.option(
    "--watch",
    "watched",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Restart the worker also when PATH changes. Repeatable.",
)
@_switch_off("--no-reload", "reloads", "Do not restart the worker when files change.")
@click.option("--open", "open_browser", is_flag=True, help="Open the console in the browser.")
def command(**options: Any) -> None:
    """Run functions on a local runtime, with a web console.

    Starts a local Foundry-compatible runtime and a worker connected to it: the functions of cm.toml, or any COMMAND.
    Prints the console's address, and restarts the worker when its files are saved or when it crashes. Call a function
    in the console, with `cm-exec invoke --dev FUNCTION`, or with curl.

    With --no-worker it waits for a worker that you start, such as one in a container or in a debugger.
    """
    require_extra("dev", (*LOCAL_RUNTIME, "watchfiles"))
    if options["worker_command"]:
        require_program(options["worker_command"])
    from cm_exec.devserver.main import run_dev  # noqa: PLC0415 - what it imports comes with the extra

    run_dev(DevArgs(**options))
