"""The Python that goes into the bundle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundle.commands import run
from bundle.failure import BundleError

_OLDEST: Final = (3, 11)

_QUERY: Final = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "implementation": sys.implementation.name,
    "version": platform.python_version(),
    "platform": sysconfig.get_platform(),
    "standard_library": sysconfig.get_path("stdlib"),
    "prefix": sys.base_prefix,
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """An installed CPython; for a virtual environment, the one that it was created from."""

    executable: Path
    version: str
    standard_library: Path
    prefix: Path

    @property
    def name(self) -> str:
        """The name of its standard library's folder, such as `python3.13`."""
        major, minor, *_ = self.version.split(".")
        return f"python{major}.{minor}"


def read_interpreter(python: Path) -> Interpreter:
    """Ask a Python for its version and folders. Raises BundleError when it cannot be bundled."""
    facts = json.loads(run([python, "-I", "-c", _QUERY]))
    if facts["implementation"] != "cpython" or facts["platform"] != "linux-x86_64":
        raise BundleError(
            f"{python}: expected CPython on linux-x86_64, found {facts['implementation']} on {facts['platform']}"
        )
    if tuple(map(int, facts["version"].split(".")[:2])) < _OLDEST:
        raise BundleError(
            f"{python}: cm-exec needs Python {_OLDEST[0]}.{_OLDEST[1]} or later, found {facts['version']}"
        )
    return Interpreter(
        executable=Path(facts["executable"]),
        version=facts["version"],
        standard_library=Path(facts["standard_library"]),
        prefix=Path(facts["prefix"]),
    )
