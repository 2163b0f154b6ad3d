"""Run the programs that a build needs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.failure import BundleError


def find_program(name: str) -> str:
    """Return the path of a program beside the running Python, else on PATH. Raises BundleError."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise BundleError(f"{name} is not installed; packaging/README.md lists what a build needs")
    return found


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Run a command in the C locale and return its stdout; `environment` is added. Raises BundleError."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise BundleError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise BundleError(f"{' '.join(map(str, command))[:300]} failed with {done.returncode}:\n{output}")
    return done.stdout
