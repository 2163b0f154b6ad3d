"""The repository keeps its word: examples are complete, documents say what is so, nothing names a private place."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import click
import pytest

import cm_exec
from cm_exec.cli.program import program
from cm_exec.config.load import load_config
from cm_exec.config.problem import ConfigError
from cm_exec.config.tables import FunctionTable, LauncherTable
from cm_exec.protocol import environment
from cm_exec.protocol.failure import Reason
from tests.support.examples import EXAMPLES, FOLDERS, TOOLS
from tests.support.tools import needs

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_is_complete(name: str) -> None:
    folder = EXAMPLES / name
    config = load_config(folder / "cm.toml")
    (function,) = config.functions
    assert (folder / "query.json").read_bytes().strip()
    assert (folder / "result.json").read_bytes().strip()
    handlers = {path.name for path in folder.iterdir()} - {
        "cm.toml",
        "query.json",
        "result.json",
        "build",
        ".gitignore",
    }
    assert handlers
    index = (EXAMPLES / "README.md").read_text()
    assert f"| [{name}]({name}) | `{function}` |" in index


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
def test_no_file_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w|\.pyenv[/]")
    found = [f"{name}: {match.group()}" for name, text in tracked_texts() for match in place.finditer(text)]
    assert not found


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_toml_block_of_the_readme_is_a_right_cm_toml(block: str, tmp_path: Path) -> None:
    path = tmp_path / "cm.toml"
    path.write_text(block)
    assert load_config(path).functions


def test_the_readme_has_toml_blocks() -> None:
    assert len(blocks("toml")) >= 2


def error_classes() -> set[type[Exception]]:
    """The errors that end the program, each with its exit code."""
    names = [module.name for module in pkgutil.walk_packages(cm_exec.__path__, "cm_exec.")]
    members = [vars(importlib.import_module(name)).values() for name in names if not name.endswith("__main__")]
    classes = {value for value in chain(*members) if isinstance(value, type) and issubclass(value, Exception)}
    return {cls for cls in classes if hasattr(cls, "exit_code")}


@pytest.mark.parametrize("error", sorted(error_classes(), key=str))
def test_the_readme_says_what_an_exit_code_means(error: type[Exception]) -> None:
    assert f"\n| {getattr(error, 'exit_code', None)} | " in README


def options() -> set[str]:
    """The long options of the program and of all its commands."""
    context = click.Context(program)
    commands = [program, *(program.get_command(context, name) for name in program.list_commands(context))]
    parameters = chain(*(command.get_params(context) for command in commands if command))
    return {name for parameter in parameters for name in parameter.opts if name.startswith("--")}


@pytest.mark.parametrize("option", sorted(options()))
def test_the_readme_names_every_option(option: str) -> None:
    assert re.search(rf"[` ]{option}[` ]", README)


@pytest.mark.parametrize("name", program.list_commands(click.Context(program)))
def test_the_readme_names_every_command(name: str) -> None:
    assert f"`cm-exec {name}" in README


@pytest.mark.parametrize("key", [*FunctionTable.__struct_fields__, *LauncherTable.__struct_fields__])
def test_the_readme_names_every_key_of_cm_toml(key: str) -> None:
    assert f"`{key}`" in README


def test_the_readme_shows_the_errors_of_a_wrong_cm_toml_as_they_are(tmp_path: Path) -> None:
    wrong = '[launcher]\nconcurrency = 0\n[functions.thumbnail]\ntimeout = "30s"\ncomand = "x"\ncommand = "x"\n'
    (tmp_path / "cm.toml").write_text(wrong)
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path / "cm.toml")
    lines = str(refused.value).replace(f"{tmp_path}/", "").splitlines()
    assert lines
    assert all(f"\n{line}\n" in README for line in lines)


def sessions() -> Iterator[tuple[str, str]]:
    """Each command that the README shows in a terminal, and what it prints."""
    for block in blocks("console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            yield command, output


@needs("jq")
@pytest.mark.parametrize(("command", "output"), list(sessions()))
def test_a_command_of_the_readme_prints_what_is_shown(command: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "cm.toml").write_text(blocks("toml")[0])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.stdout == output
    assert done.returncode == 0, done.stderr


def test_the_persistent_handler_of_the_readme_works(tmp_path: Path) -> None:
    (config,) = (block for block in blocks("toml") if 'mode = "persistent"' in block)
    (tmp_path / "cm.toml").write_text(config)
    (tmp_path / "double.py").write_text(blocks("python")[0])
    command = [str(Path(sys.executable).with_name("cm-exec")), "invoke", "double", "21"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.stdout == b"42", done.stderr


def test_every_make_target_that_is_documented_exists() -> None:
    documents = README + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", documents, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("reason", Reason)
def test_the_readme_explains_every_reason_of_an_error_result(reason: Reason) -> None:
    assert f"`{reason.value}`" in README


@pytest.mark.parametrize(
    "name",
    sorted({value for name, value in vars(environment).items() if name.isupper() and isinstance(value, str)}),
)
def test_the_readme_names_every_variable_of_the_platform(name: str) -> None:
    assert f"`{name}`" in README


def test_the_readme_s_links_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target
