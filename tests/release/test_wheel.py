"""The content of the wheel."""

import re
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from cm_exec import __version__

ROOT = Path(__file__).resolve().parents[2]
INFO = f"cm_exec-{__version__}.dist-info"
DATA = f"cm_exec-{__version__}.data/data"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Build the wheel of this checkout, as scripts/build-dist does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.iterdir()
    return ZipFile(path)


def package_files() -> set[str]:
    files = (path for path in (ROOT / "cm_exec").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in files}


def metadata(wheel: ZipFile) -> Message:
    return HeaderParser().parsestr(wheel.read(f"{INFO}/METADATA").decode())


def test_content(wheel: ZipFile) -> None:
    """The wheel contains the package and nothing else."""
    names = {name for name in wheel.namelist() if not name.endswith("/")}
    assert {name for name in names if name.startswith("cm_exec/")} == package_files()
    assert {name.partition("/")[0] for name in names} <= {"cm_exec", INFO, DATA.partition("/")[0]}


@pytest.mark.parametrize(
    "name",
    [
        "cm_exec/py.typed",
        "cm_exec/config/schema/cm-toml.schema.json",
        "cm_exec/local_runtime/console/index.html",
        f"{INFO}/licenses/LICENSE",
        f"{DATA}/share/man/man1/cm-exec.1",
        f"{DATA}/share/bash-completion/completions/cm-exec",
        f"{DATA}/share/zsh/site-functions/_cm-exec",
        f"{DATA}/share/fish/vendor_completions.d/cm-exec.fish",
    ],
)
def test_the_wheel_contains_data_files(wheel: ZipFile, name: str) -> None:
    assert name in wheel.namelist()


def test_the_tests_of_the_wheel_exist() -> None:
    """scripts/test-wheel names them."""
    named = re.findall(r"tests/[a-z0-9_/]+(?:\.py)?", (ROOT / "scripts" / "test-wheel").read_text())
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_entry_points(wheel: ZipFile) -> None:
    """The wheel installs one program and the plugin for pytest."""
    lines = wheel.read(f"{INFO}/entry_points.txt").decode().split("\n")
    assert list(filter(None, lines)) == [
        "[console_scripts]",
        "cm-exec = cm_exec.cli:main",
        "[pytest11]",
        "cm_exec.testing.plugin = cm_exec.testing.plugin",
    ]


def test_the_wheel_needs_four_packages(wheel: ZipFile) -> None:
    needed = [text for text in metadata(wheel).get_all("Requires-Dist", []) if "extra ==" not in text]
    assert sorted(re.split(r"[^\w-]", text)[0] for text in needed) == ["click", "msgspec", "tomli", "urllib3"]


def test_version_and_readme(wheel: ZipFile) -> None:
    """The wheel has the package's version and README."""
    assert metadata(wheel)["Version"] == __version__
    assert (ROOT / "README.md").read_text().strip() == str(metadata(wheel).get_payload()).strip()
