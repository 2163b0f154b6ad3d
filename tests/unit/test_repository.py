"""The repository keeps its word: examples are complete, documents say what is so, nothing names a private place."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from cm_exec import __version__
from cm_exec.cli.program import program
from cm_exec.config.load import load_config
from cm_exec.protocol import environment
from cm_exec.protocol.failure import Reason
from tests.support.documents import PAGES
from tests.support.errors import error_classes
from tests.support.examples import EXAMPLES, FOLDERS, TOOLS
from tests.support.tools import needs

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_is_complete(name: str) -> None:
    folder = EXAMPLES / name
    config = load_config(folder / "cm.toml")
    functions = ", ".join(f"`{name}`" for name in config.functions)
    assert (folder / "query.json").read_bytes().strip()
    assert (folder / "result.json").read_bytes().strip()
    handlers = {path.name for path in folder.iterdir()} - {
        "cm.toml",
        "query.json",
        "result.json",
        "build",
        "Dockerfile",
        ".gitignore",
    }
    assert handlers
    index = (EXAMPLES / "README.md").read_text()
    assert f"| [{name}]({name}) | {functions} |" in index


def test_every_example_says_which_tools_it_needs() -> None:
    assert sorted(TOOLS) == FOLDERS


def tracked_texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            try:
                yield name, path.read_text()
            except UnicodeDecodeError:
                continue


@needs("git")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout: there is no list of tracked files")
def test_no_private_paths() -> None:
    """No tracked file names a path on a developer's machine."""
    place = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w|\.\w{2,}env/")
    found = [f"{name}: {match.group()}" for name, text in tracked_texts() for match in place.finditer(text)]
    assert not found


def test_class_names_are_unique() -> None:
    """An editor that goes to a class by its name has one place to go to."""
    package = ROOT / "cm_exec"
    modules = [path for path in package.rglob("*.py") if "templates" not in path.relative_to(package).parts]
    names = Counter(
        node.name
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert len(names) > 50
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("error", sorted(error_classes(), key=str))
def test_exit_codes_in_the_readme(error: type[Exception]) -> None:
    """The README explains every exit code."""
    assert f"\n| {getattr(error, 'exit_code', None)} | " in README


@pytest.mark.parametrize("name", program.list_commands(click.Context(program)))
def test_commands_in_the_readme(name: str) -> None:
    """The README names every command."""
    assert f"`cm-exec {name}" in README


def test_documented_make_targets() -> None:
    """Every documented make target exists."""
    documents = "".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", documents, flags=re.MULTILINE))
    in_new_projects = {"build"}
    assert {"demo", "test"} <= named <= targets | in_new_projects


def test_version_of_the_documented_image() -> None:
    """The image that the documents name has the current version."""
    named = {version for page in PAGES for version in re.findall(r"cm-exec-base:([\w.]+\w)", page.read_text())}
    assert named == {__version__}


@pytest.mark.parametrize("reason", Reason)
def test_documented_reasons(reason: Reason) -> None:
    """The documents explain every reason of an error."""
    assert f"\n| `{reason.value}` | " in (ROOT / "docs" / "handlers.md").read_text()


@pytest.mark.parametrize(
    "name",
    sorted({value for name, value in vars(environment).items() if name.isupper() and isinstance(value, str)}),
)
def test_documented_variables(name: str) -> None:
    """The documents explain every variable of the platform and of a job."""
    pages = [(ROOT / "docs" / f"{page}.md").read_text() for page in ("how-it-works", "handlers")]
    assert f"`{name}`" in "".join(pages)


@pytest.mark.parametrize("name", sorted(environment.CONNECTION_VARIABLES))
def test_documented_private_variables(name: str) -> None:
    """The documents list every variable that no handler gets."""
    assert f"`{name}`" in (ROOT / "docs" / "security.md").read_text()
