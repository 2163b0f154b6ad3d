"""Create Debian as a tar from its packages, and cache it, since that takes long."""

import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SMALLEST = ("base-files", "bash", "coreutils", "dash", "grep", "libc-bin", "sed")
"""What a shell script needs, of which `extract` knows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """A release by its code name, and packages.

    Where it is not `installed`, packages are only unpacked, in a third of the time: programs run, but there is no
    apt, no passwd, and nothing that a package does when it is installed.
    """

    suite: str
    packages: tuple[str, ...] = ()
    installed: bool = True

    def tar(self, scratch: Path) -> Path:
        """Return the tar, and create it in the folder `scratch` if needed. Only one process may do so at a time."""
        command = list(self._command())
        key = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
        path = _cache() / f"{self.suite}-{key}.tar"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}.part")
            _run([*command, self.suite, str(part), *_mirror()], scratch)
            for outdated in path.parent.glob(f"{self.suite}-*.tar"):
                outdated.unlink()
            part.rename(path)
        return path

    def _command(self) -> Iterator[str]:
        yield from ("mmdebstrap", "--quiet", "--format=tar", "--dpkgopt=force-unsafe-io")
        yield from (f"--aptopt={setting}" for setting in _apt_settings())
        if self.installed:
            yield "--variant=minbase"
        else:
            yield from ("--variant=extract", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
        packages = self.packages if self.installed else (*_SMALLEST, *self.packages)
        yield from ([f"--include={','.join(packages)}"] if packages else [])


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "cm-exec-tests", "roots")


@cache
def _mirror() -> list[str]:
    """Return the package sources of this machine, empty if it is not Debian: mmdebstrap has a default."""
    listed = _output("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
    found = [line.split()[1] for line in listed.splitlines() if line.startswith("Debian ")]
    return found[:1]


@cache
def _apt_settings() -> list[str]:
    """Return the proxy settings of this machine."""
    wanted = ("Acquire::http", "Acquire::https", "Acquire::ftp")
    settings = _output("apt-config", "dump", "--no-empty", "--format", '%F "%v";%n')
    return [line for line in settings.splitlines() if line.startswith(wanted) and "::Proxy" in line]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout


def _run(command: list[str], scratch: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stderr[-3000:]}"
