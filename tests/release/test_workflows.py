"""The workflows run scripts of the repository, and use actions at fixed commits only."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(text: str) -> Iterator[str]:
    """Yield the command of each `run:`, without sudo and without what follows a pipe."""
    for line in re.findall(r"^\s*-?\s*run: (.*)$", text, re.MULTILINE):
        yield line.removeprefix("sudo ").split(" | ")[0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_pinned_action(path: Path) -> None:
    """An action is pinned to a commit, with its version in a comment."""
    lines = [line.split("uses:", 1)[1].strip() for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_the_repository_has(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(path.read_text()):
        program, *arguments = command.split()
        assert (arguments[0] in targets) if program == "make" else (ROOT / program).is_file(), command
        if program == ".ci/run":
            assert f"\n  {arguments[0]})" in (ROOT / program).read_text(), command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs(path: Path) -> None:
    """Every job has a timeout and its own permissions."""
    text = path.read_text()
    jobs = re.findall(r"^  ([a-z]+):$", text.partition("\njobs:\n")[2], re.MULTILINE)
    assert jobs
    assert text.count("    timeout-minutes: ") == text.count("    permissions:\n") == len(jobs)
    assert "\npermissions: {}\n" in text


def test_changes_and_releases_have_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
