"""The facts about an image that a process inside it can see."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Final

from cm_exec.config import ConfigError, load_config
from cm_exec.handlers.spool import spool_directory
from cm_exec.preflight.command import CommandCheck, check_function
from cm_exec.protocol import environment as names

FILE_VARIABLES: Final = (
    names.MODULE_AUTH_TOKEN,
    names.DEFAULT_CA_PATH,
    names.PEER_CA_PATH,
    names.CONNECTION_TO_RUNTIME,
    "SOURCE_CREDENTIALS",
    "SOURCE_CONFIGURATIONS_PATH",
    "BUILD2_TOKEN",
    "RESOURCE_ALIAS_MAP",
)
"""The platform's variables that name a file (containers page, and those that the official SDKs read)."""

RESERVED: Final = names.CONNECTION_VARIABLES | {
    names.MAX_CONCURRENT_TASKS,
    names.COMPUTE_SESSION_ID,
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SOURCE_CREDENTIALS",
    "SOURCE_CONFIGURATIONS_PATH",
    "BUILD2_TOKEN",
    "FOUNDRY_COMPUTE_MODULE_RID",
    "FOUNDRY_ONTOLOGY_RID",
}
"""The variables that only the platform sets (containers page)."""

_TRIAL_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image, as a process in it sees it.

    `shell` and `tee` describe how a trial run failed, empty if it worked; `echo` is the program's path, empty if
    there is none. `errors` are those of cm.toml, one per line; `functions` is empty if there are any. `temporary` is
    the folder for temporary files and `home` the value of HOME, each None if it is not writable or not set.
    `unreadable` and `absent` are variables of the platform, each with the path that it names; `reserved` are the
    platform's variables that are set although there is no runtime.
    """

    uid: int
    gid: int
    system: str
    machine: str
    shell: str
    tee: str
    echo: str
    config: Path
    config_is_readable: bool
    errors: tuple[str, ...]
    functions: tuple[CommandCheck, ...]
    log_format: str
    temporary: str | None
    root_is_read_only: bool
    home: str | None
    has_runtime: bool
    unreadable: tuple[tuple[str, str], ...]
    absent: tuple[tuple[str, str], ...]
    reserved: tuple[str, ...]


def inspect_image(config: Path, environ: Mapping[str, str]) -> ImageFacts:
    """Collect all facts. Runs /bin/sh and tee, and no handler."""
    functions, errors, log_format = _read(config)
    uname = os.uname()
    has_runtime = bool(environ.get(names.GET_JOB_URI) or environ.get(names.CONNECTION_TO_RUNTIME))
    files = _files(environ)
    return ImageFacts(
        uid=os.geteuid(),
        gid=os.getegid(),
        system=uname.sysname,
        machine=uname.machine,
        shell=_try(["/bin/sh", "-c", "set -e && exit 0"]),
        tee=_try(["tee"]),
        echo=which("echo") or "",
        config=config,
        config_is_readable=_is_readable(str(config)),
        errors=errors,
        functions=functions,
        log_format=environ.get("CM_EXEC_LOG_FORMAT") or log_format,
        temporary=spool_directory(),
        root_is_read_only=bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        home=_home(environ),
        has_runtime=has_runtime,
        unreadable=tuple((name, path) for name, path in files if os.path.lexists(path) and not _is_readable(path)),
        absent=tuple((name, path) for name, path in files if not os.path.lexists(path)),
        reserved=() if has_runtime else tuple(sorted(name for name in RESERVED if name in environ)),
    )


def _read(config: Path) -> tuple[tuple[CommandCheck, ...], tuple[str, ...], str]:
    """Return the functions, the errors of cm.toml, and the log format."""
    try:
        read = load_config(config)
    except ConfigError as error:
        return (), tuple(str(error).splitlines()), "text"
    return tuple(check_function(function) for function in read.functions.values()), (), read.launcher.log_format


def _try(command: list[str]) -> str:
    """Describe how a program fails that should copy stdin or do nothing; empty if it works."""
    try:
        done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=_TRIAL_SECONDS)
    except FileNotFoundError:
        return "is not in the image"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    return "" if done.returncode == 0 else f"failed with exit status {done.returncode}"


def _home(environ: Mapping[str, str]) -> str | None:
    home = environ.get("HOME", "")
    return home if home and os.access(home, os.W_OK) else None


def _files(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables that name a file; a variable can also hold the token itself."""
    return [(name, path) for name in FILE_VARIABLES if (path := environ.get(name, "")).startswith("/")]


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)
