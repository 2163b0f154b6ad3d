"""What several running `cm-exec dev` of this user share: their addresses, a token, and free ports."""

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

_TOKEN_FILE: Final = "callers-token"  # noqa: S105 - a file's name


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One that is running. `url` is where functions are called with `token`, `config_path` is absolute."""

    pid: int
    url: str
    config_path: str
    token: str = ""


@contextmanager
def registered(instance: Instance) -> Iterator[None]:
    """Let `cm-exec invoke --dev` find it meanwhile. Where no file can be written, that needs --dev-url."""
    path: Path | None = None
    with suppress(OSError):
        path = _write_private(f"dev-{instance.pid}.json", msgspec.json.encode(instance))
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def real_text(path: Path) -> str:
    """Return the real path as text of UTF-8, with escapes for other bytes."""
    return os.fsencode(os.path.realpath(path)).decode(errors="backslashreplace")


def list_running() -> list[Instance]:
    """Return those that run now, and remove the files of killed ones."""
    folder = _folder()
    found = []
    with suppress(OSError):
        for path in sorted(folder.glob("dev-*.json")) if _is_private(folder) else ():
            with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                instance = msgspec.json.decode(path.read_bytes(), type=Instance)
                if _is_alive(instance.pid):
                    found.append(instance)
                else:
                    path.unlink(missing_ok=True)
    return found


def remembered_token() -> str | None:
    """Return this user's token for callers' ports, so that an open console survives a restart; None if impossible."""
    with suppress(OSError):
        path = _folder() / _TOKEN_FILE
        if _is_private(_folder()) and path.is_file() and (token := path.read_text("ascii").strip()):
            return token
    token = secrets.token_urlsafe(24)
    with suppress(OSError):
        return token if _write_private(_TOKEN_FILE, token.encode()) else None
    return None


def _write_private(name: str, content: bytes) -> Path | None:
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder):
        return None
    draft = folder / f".{name}.{os.getpid()}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    return draft.rename(folder / name)


def _folder() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"cm-exec-{os.getuid()}")


def _is_private(folder: Path) -> bool:
    """Return whether the folder is this user's alone: another user's file would send our queries to them."""
    found = folder.lstat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o077 and folder.is_dir() and not folder.is_symlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def claimed_port(address: str, ports: list[int]) -> Iterator[int]:
    """Give the first of the ports that is free, 0 if none is.

    A bound port that does not listen yet can be bound again, so that two that start at once would both take it. A
    name of Linux' abstract sockets belongs to one of them.
    """
    for port in ports:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            claim = socket.socket(socket.AF_UNIX)
            try:
                if sys.platform == "linux":
                    claim.bind(f"\0cm-exec-port-{port}")
                trial.bind((address, port))
                trial.listen(1)
            except OSError:
                claim.close()
                continue
        with claim:
            yield port
            return
    yield 0
