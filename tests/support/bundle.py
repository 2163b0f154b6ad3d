"""The self-contained cm-exec, built once for all processes of a test run."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.tools import find

ROOT: Final = Path(__file__).resolve().parents[2]
LOCKED: Final = ROOT / "packaging" / "requirements.txt"
HOME: Final = Path("/opt/cm-exec")
"""Where it has to stand."""
DEVELOPER_PACKAGES: Final = ("devserver", "testing")
"""Packages of cm-exec whose commands need `pip install 'cm-exec[dev]'`, except for their options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`tree` has to stand at /opt/cm-exec to run, and is for reading only; `archive` is the same as a .tar.gz.

    `wheel` and `wheelhouse` are what it was built of.
    """

    tree: Path
    archive: Path
    wheel: Path
    wheelhouse: Path

    def copy_to(self, root: Path) -> None:
        """Copy the bundle into a root folder, as COPY does. Files are hard links where possible."""
        target = root / HOME.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.tree, target, copy_function=_link_or_copy)

    def at_home(self, unshare: tuple[str, ...]) -> list[str]:
        """Return the start of a command that sees the bundle at /opt/cm-exec, on a root that it cannot write to.

        Nor can it execute anything in /tmp. The rest of the command follows.
        """
        mounts = (
            "mount -t tmpfs none /opt && mkdir /opt/cm-exec && mount --bind --make-private $0 /opt/cm-exec"
            " && mount -o remount,bind,ro /opt/cm-exec && mount -o remount,bind,ro /opt"
            " && mount --bind /tmp /tmp && mount -o remount,bind,noexec /tmp && mount -o remount,bind,ro /"
        )
        return [*unshare, "--mount", "sh", "-c", f'{mounts} && exec "$@"', str(self.tree)]


def shared_bundle(factory: pytest.TempPathFactory) -> Bundle:
    """Return the bundle of this test run. The first process builds it; the others wait.

    Skips where it cannot be built; fails in CI.
    """
    _need_debian()
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with _locked(folder / "bundle.lock"):
        if not (folder / "bundle").exists():
            part = Path(f"{folder / 'bundle'}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            _build(part)
            part.rename(folder / "bundle")
    return _in_folder(folder / "bundle")


def build_bundle(*arguments: str | Path) -> None:
    """Run the program. Raises AssertionError with its output if it fails."""
    command = [sys.executable, ROOT / "packaging" / "build_bundle.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


def _need_debian() -> None:
    missing = [tool for tool in ("ldd", "dpkg-query", "strip") if find(tool) is None]
    missing += [] if platform.machine() == "x86_64" else ["an amd64 processor"]
    if not missing:
        return
    reason = f"the bundle is built on Debian or Ubuntu for amd64; not on this machine: {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _in_folder(folder: Path) -> Bundle:
    (wheel,) = (folder / "wheel").glob("*.whl")
    archive = folder / "cm-exec.tar.gz"
    return Bundle(tree=folder / "cm-exec", archive=archive, wheel=wheel, wheelhouse=_wheelhouse())


def _build(folder: Path) -> None:
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheel", ROOT)
    (wheel,) = (folder / "wheel").glob("*.whl")
    output = ("--output", folder / "cm-exec", "--archive", folder / "cm-exec.tar.gz")
    build_bundle(*output, "--wheel", wheel, "--wheelhouse", _wheelhouse())


def _wheelhouse() -> Path:
    """Return the folder of the dependencies' wheels, which are downloaded once and kept."""
    key = hashlib.sha256(LOCKED.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = ROOT / "build" / "wheelhouse" / key
    if not folder.exists():
        part = Path(f"{folder}.{os.getpid()}")
        _pip("download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", LOCKED, "-d", part)
        part.rename(folder)
    return folder


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
