"""A private store of images and containers that podman, buildah and all test processes share."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STORAGE: Final = """\
[storage]
driver = "{driver}"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""

_ENGINE: Final = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "{folder}/tmp"
"""


STORE_FOLDER: Final = "CM_EXEC_TEST_STORE"
"""The variable by which a test process knows the folder of the store that it shares with the others."""


_MEMORY: Final = Path("/dev/shm")
_PLENTY: Final = 8 << 30
"""Bytes of memory that must be free; the images take about one GiB."""


class BuildError(Exception):
    """Raised when podman or buildah fails, with the end of its output."""


def make_folder() -> Path:
    """Create a folder for a store, in memory if there is enough: a disk needs a minute to delete its many files."""
    return Path(tempfile.mkdtemp(prefix="cm-exec-images-", dir=_MEMORY if _memory_is_good() else None))


def _memory_is_good() -> bool:
    try:
        found, told = os.statvfs(_MEMORY), Path("/proc/meminfo").read_text()
    except OSError:
        return False
    available = next(int(line.split()[1]) << 10 for line in told.splitlines() if line.startswith("MemAvailable:"))
    is_whole = not found.f_flag & (os.ST_NOEXEC | os.ST_NODEV)  # roots are made in it, with programs and devices
    return is_whole and min(available, found.f_bavail * found.f_frsize) > _PLENTY


@dataclass(frozen=True, slots=True)
class Store:
    """Images and containers under `folder`."""

    folder: Path

    def open(self) -> None:
        """Write the configuration of podman and buildah for this store; can be repeated."""
        self.folder.mkdir(exist_ok=True)
        for file, text in ((self._storage, _STORAGE), (self._engine, _ENGINE)):
            file.write_text(text.format(folder=self.folder, driver=_driver(self.folder)))

    def environment(self) -> dict[str, str]:
        """Return the environment of podman and buildah."""
        return {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self._storage),
            "CONTAINERS_CONF": str(self._engine),
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self.folder),
        }

    def run(self, *command: str | Path, variables: Mapping[str, str] | None = None) -> str:
        """Run a command that uses this store and return its output. Raises BuildError if it fails."""
        done = subprocess.run(
            command,
            env={**self.environment(), **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-3000:]
            raise BuildError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
        return done.stdout

    def once(self, name: str, build: Callable[[], object]) -> None:
        """Build in the first process; the others wait. A failure is reported to all and not tried again."""
        done, failed = self.folder / f"{name}.done", self.folder / f"{name}.failed"
        with _locked(self.folder / f"{name}.lock"):
            if failed.exists():
                raise BuildError(failed.read_text())
            if not done.exists():
                failed.write_text(f"{name} could not be built; the first test that wanted it tells why")
                build()
                failed.rename(done)

    def close(self) -> None:
        """Remove all containers and images, and the folder."""
        if self._storage.exists():
            subprocess.run(
                ["podman", "rm", "--all", "--force"], env=self.environment(), capture_output=True, check=False
            )
        for mount in _mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _storage(self) -> Path:
        return self.folder / "storage.conf"

    @property
    def _engine(self) -> Path:
        return self.folder / "containers.conf"


def _driver(folder: Path) -> str:
    """Return the storage driver: an overlay cannot be created on an overlay, such as a container's root; vfs can."""
    below = subprocess.run(["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=True)
    return "vfs" if below.stdout.strip() == "overlayfs" else "overlay"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mounts_below(folder: Path) -> list[str]:
    """Return the mount points below the folder, the innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)
