"""Where a running `cm-exec dev` can be found: a small file for each, in a folder of this user's."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One that runs. `url` is where functions are called, `config_path` absolute."""

    pid: int
    url: str
    config_path: str


@contextmanager
def registered(address: Address) -> Iterator[None]:
    """Let `cm-exec invoke --dev` find it meanwhile. Where no file can be written, it needs --dev-url."""
    path: Path | None = None
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(folder):
            draft = folder / f".{address.pid}"
            draft.write_bytes(msgspec.json.encode(address))
            path = draft.rename(folder / f"dev-{address.pid}.json")
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def list_running() -> list[Address]:
    """Those that run now; what killed ones left is removed."""
    folder = _folder()
    found = []
    with suppress(OSError):
        for path in sorted(folder.glob("dev-*.json")) if _is_ours(folder) else ():
            with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                address = msgspec.json.decode(path.read_bytes(), type=Address)
                if _is_alive(address.pid):
                    found.append(address)
                else:
                    path.unlink(missing_ok=True)
    return found


def _folder() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"cm-exec-{os.getuid()}")


def _is_ours(folder: Path) -> bool:
    """The folder for temporary files is everybody's: another user's file would send our queries to them."""
    found = folder.lstat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022 and folder.is_dir() and not folder.is_symlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
