"""Running the programs that a build needs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.failure import BundleError


def find_program(name: str) -> str:
    """The program beside the Python that runs this, else on PATH. Raises BundleError."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise BundleError(f"{name} is not on this machine; packaging/README.md says what a build needs")
    return found


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """What the command writes to stdout, in the C locale; `environment` is added. Raises BundleError."""
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
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise BundleError(f"{' '.join(map(str, command))[:300]} failed with {done.returncode}:\n{said}")
    return done.stdout
