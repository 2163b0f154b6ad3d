"""Where things stand in the bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOME: Final = Path("/opt/cm-exec")
"""The one place where it runs: the kernel wants absolute paths of a script's interpreter and of a program's loader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders and files of the bundle that is built in `root`, for a Python called `python3.N`."""

    root: Path
    python_name: str

    @property
    def interpreter(self) -> Path:
        """The Python program."""
        return self.root / "bin" / "python3"

    @property
    def entry(self) -> Path:
        """What people start."""
        return self.root / "bin" / "cm-exec"

    @property
    def libraries(self) -> Path:
        """The folder of the shared libraries, libc and the loader among them."""
        return self.root / "lib"

    @property
    def standard_library(self) -> Path:
        """Where the interpreter looks for it, from where it is itself."""
        return self.libraries / self.python_name

    @property
    def site(self) -> Path:
        """The folder of cm-exec and the packages that it needs."""
        return self.root / "site"

    @property
    def licenses(self) -> Path:
        """A folder a component."""
        return self.root / "licenses"

    @property
    def sbom(self) -> Path:
        """The list of all components; scanners know such a file by its suffix."""
        return self.root / "sbom.cdx.json"

    def relative(self, path: Path) -> str:
        """The path of something in the bundle, from its top."""
        return path.relative_to(self.root).as_posix()

    @staticmethod
    def at_home(relative: str) -> str:
        """The path that it has where the bundle runs."""
        return str(HOME / relative)
