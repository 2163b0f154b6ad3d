"""The folders and files of the bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOME: Final = Path("/opt/cm-exec")
"""The only place where it runs: a script names its interpreter, and a program its loader, by an absolute path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The layout of a bundle that is built in `root`, for a Python called `python3.N`."""

    root: Path
    python_name: str

    @property
    def interpreter(self) -> Path:
        """The Python program."""
        return self.root / "bin" / "python3"

    @property
    def entry(self) -> Path:
        """The script that users start."""
        return self.root / "bin" / "cm-exec"

    @property
    def libraries(self) -> Path:
        """The folder of the shared libraries, with libc and the loader."""
        return self.root / "lib"

    @property
    def standard_library(self) -> Path:
        """The folder where the interpreter looks for it, relative to itself."""
        return self.libraries / self.python_name

    @property
    def site(self) -> Path:
        """The folder of cm-exec and the packages that it needs."""
        return self.root / "site"

    @property
    def licenses(self) -> Path:
        """The folder of licence texts, with one folder per component."""
        return self.root / "licenses"

    @property
    def sbom(self) -> Path:
        """The list of all components. Scanners recognise it by its suffix."""
        return self.root / "sbom.cdx.json"

    def relative(self, path: Path) -> str:
        """Return a path relative to the top of the bundle."""
        return path.relative_to(self.root).as_posix()

    @staticmethod
    def at_home(relative: str) -> str:
        """Return the absolute path where the bundle runs."""
        return str(HOME / relative)
