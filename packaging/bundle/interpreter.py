"""The Python that goes into the bundle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundle.commands import run
from bundle.failure import BundleError

_OLDEST: Final = (3, 11)

_QUESTIONS: Final = """
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
    """A CPython that is installed here; of a virtual environment, the one that it was made of."""

    executable: Path
    version: str
    standard_library: Path
    prefix: Path

    @property
    def name(self) -> str:
        """Such as `python3.13`, as its standard library's folder is called."""
        major, minor, *_ = self.version.split(".")
        return f"python{major}.{minor}"


def read_interpreter(python: Path) -> Interpreter:
    """Ask a Python where it keeps its things. Raises BundleError when it cannot be bundled."""
    told = json.loads(run([python, "-I", "-c", _QUESTIONS]))
    if told["implementation"] != "cpython" or told["platform"] != "linux-x86_64":
        raise BundleError(
            f"{python}: expected CPython on linux-x86_64, found {told['implementation']} on {told['platform']}"
        )
    if tuple(map(int, told["version"].split(".")[:2])) < _OLDEST:
        raise BundleError(f"{python}: cm-exec needs Python {_OLDEST[0]}.{_OLDEST[1]} or later, found {told['version']}")
    return Interpreter(
        executable=Path(told["executable"]),
        version=told["version"],
        standard_library=Path(told["standard_library"]),
        prefix=Path(told["prefix"]),
    )
