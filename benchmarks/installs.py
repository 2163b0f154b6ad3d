"""cm-exec and the official SDKs, each installed into a folder that git ignores."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_HERE: Final = ROOT / "benchmarks"
_CM_EXEC_FOLDER: Final = ROOT / ".venv-bench-cm-exec"
_PYTHON_FOLDER: Final = ROOT / ".venv-bench"
_NODE_FOLDER: Final = ROOT / ".bench-node"


class InstallError(Exception):
    """Raised when something cannot be installed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """`cm_exec` is the program, with the packages of a worker only: those of the tests would change its start.

    `python` runs the official Python SDK and numpy; `node_path` contains the TypeScript SDK. What could not be
    installed is None, and `missing` has the reason by name.
    """

    cm_exec: Path | None
    python: Path | None
    node_path: Path | None
    missing: dict[str, str]


def install(progress: Callable[[str], None]) -> Installed:
    """Install what is missing. `progress` is called with each step."""
    missing: dict[str, str] = {}

    def attempt(name: str, step: Callable[[Callable[[str], None]], Path]) -> Path | None:
        try:
            return step(progress)
        except InstallError as error:
            missing[name] = str(error)
            return None

    return Installed(
        cm_exec=attempt("cm-exec", _install_cm_exec),
        python=attempt("python", _install_python),
        node_path=attempt("node", _install_node),
        missing=missing,
    )


def _install_cm_exec(progress: Callable[[str], None]) -> Path:
    wanted = ROOT / "pyproject.toml"
    return _pip_install("cm-exec", _CM_EXEC_FOLDER, wanted, ["--editable", str(ROOT)], progress) / "cm-exec"


def _install_python(progress: Callable[[str], None]) -> Path:
    wanted = _HERE / "requirements.txt"
    what = "the official Python SDK"
    return _pip_install(what, _PYTHON_FOLDER, wanted, ["--requirement", str(wanted)], progress) / "python"


def _pip_install(what: str, folder: Path, wanted: Path, packages: list[str], progress: Callable[[str], None]) -> Path:
    """Install packages into a virtual environment, unless it has what the file `wanted` says; return its programs."""
    programs = folder / "bin"
    if not _is_up_to_date(folder, wanted):
        progress(f"installing {what} into {folder.name}")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], "no virtual environment")
        pip = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *packages], f"pip cannot install {what}")
        _mark(folder, wanted)
    return programs


def _install_node(progress: Callable[[str], None]) -> Path:
    modules = _NODE_FOLDER / "node_modules"
    wanted = _HERE / "package.json"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise InstallError("node and npm are not installed")
    if _is_up_to_date(_NODE_FOLDER, wanted):
        return modules
    progress(f"installing the official TypeScript SDK into {_NODE_FOLDER.name}")
    _NODE_FOLDER.mkdir(exist_ok=True)
    (_NODE_FOLDER / ".gitignore").write_text("*\n")
    shutil.copy(wanted, _NODE_FOLDER / "package.json")
    npm = ["npm", "install", "--prefix", str(_NODE_FOLDER), "--no-audit", "--no-fund", "--silent"]
    _run(npm, "npm cannot install the official TypeScript SDK")
    _mark(_NODE_FOLDER, wanted)
    return modules


def _is_up_to_date(folder: Path, wanted: Path) -> bool:
    stamp = folder / ".installed"
    return stamp.is_file() and stamp.read_text() == _stamp(folder, wanted)


def _mark(folder: Path, wanted: Path) -> None:
    (folder / ".installed").write_text(_stamp(folder, wanted))


def _stamp(folder: Path, wanted: Path) -> str:
    """Return the content of the stamp: a virtual environment belongs to one path and one Python."""
    return f"{folder}\n{sys.version}\n{wanted.read_text()}"


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise InstallError(f"{failure}: {' '.join(last) or 'no reason given'}")
