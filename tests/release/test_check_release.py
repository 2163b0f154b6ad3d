"""Tests of the release scripts in a repository of their own."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from cm_exec import __version__
from tests.support.tools import needs

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPTS: Final = ("version", "release-notes", "check-release", "release")
CHANGELOG: Final = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-01-02

### Added

- What is new.

## [1.2.2] - 2026-01-01

- What was new.

[1.2.2]: https://example.org
"""

pytestmark = needs("git")


@dataclass(frozen=True, slots=True)
class Repository:
    folder: Path

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "tag.gpgSign=false")
        subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True)

    def write(self, *, version: str = "1.2.3", changelog: str = CHANGELOG) -> None:
        (self.folder / "cm_exec" / "__init__.py").write_text(f'"""Package."""\n\n__version__ = "{version}"\n')
        (self.folder / "CHANGELOG.md").write_text(changelog)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "x")

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "scripts" / script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def refusal(self) -> str:
        done = self.run("check-release")
        assert done.returncode == 1
        return done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Create a repository whose version can be released."""
    repository = Repository(tmp_path)
    for folder in ("scripts", "cm_exec"):
        (tmp_path / folder).mkdir()
    for script in SCRIPTS:
        shutil.copy2(ROOT / "scripts" / script, tmp_path / "scripts")
    repository.write()
    repository.git("init", "--quiet")
    repository.commit()
    return repository


def test_clean_tree(repository: Repository) -> None:
    """A clean tree whose version has a heading can be released."""
    assert repository.run("check-release").stdout == "cm-exec 1.2.3 can be released.\n"
    repository.git("tag", "v1.2.3")
    assert repository.run("check-release").returncode == 0


def test_uncommitted_changes_are_refused(repository: Repository) -> None:
    (repository.folder / "stray.txt").write_text("")
    assert "?? stray.txt" in repository.refusal()


def test_a_version_without_a_heading_is_refused(repository: Repository) -> None:
    repository.write(version="1.3.0")
    repository.commit()
    assert 'rename the heading "## [Unreleased]" to "## [1.3.0] - 20' in repository.refusal()


def test_empty_section(repository: Repository) -> None:
    """A heading without content is rejected."""
    repository.write(changelog="## [1.2.3]\n\n## [1.2.2]\n\n- x\n")
    repository.commit()
    assert "CHANGELOG.md has no section about 1.2.3" in repository.refusal()


def test_a_released_version_is_refused(repository: Repository) -> None:
    repository.git("tag", "v1.2.3")
    repository.commit()
    assert "1.2.3 is already released as v1.2.3" in repository.refusal()


def test_a_tag_of_another_version_is_refused(repository: Repository) -> None:
    repository.git("tag", "v2.0.0")
    assert "This commit is tagged v2.0.0, and cm_exec/__init__.py says 1.2.3." in repository.refusal()


def test_all_reasons_are_printed_at_once(repository: Repository) -> None:
    repository.write(version="next")
    printed = repository.refusal()
    assert all(text in printed for text in ('the version is "next"', "uncommitted changes", "no section about next"))


def test_dirty_tree(repository: Repository) -> None:
    """A tree that cannot be released is not built."""
    stray = repository.folder / "dist"
    stray.mkdir()
    stray.joinpath("kept").touch()
    done = repository.run("release")
    assert (done.returncode, done.stdout) == (1, "")
    assert "?? dist/" in done.stderr
    assert stray.joinpath("kept").exists()


def test_unknown_option(repository: Repository) -> None:
    """An unknown option of release is rejected."""
    done = repository.run("release", "--publish")
    assert (done.returncode, done.stderr) == (2, "usage: release [--quick] [--without-image]\n")


def test_a_missing_container_engine_is_an_error() -> None:
    environment = {**os.environ, "CM_EXEC_ENGINE": "no-such-engine"}
    done = subprocess.run(
        [ROOT / "scripts" / "container-engine"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "No container engine works here; tried: no-such-engine.\n")


def test_notes_are_the_section_of_the_version(repository: Repository) -> None:
    assert repository.run("release-notes").stdout == "### Added\n\n- What is new.\n"
    assert repository.run("release-notes", "1.2.2").stdout == "- What was new.\n"


def test_one_file_has_the_version() -> None:
    version = subprocess.run([ROOT / "scripts" / "version"], capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", version)
    elsewhere = ["pyproject.toml", "Dockerfile.base", "Makefile", ".github/workflows/release.yml"]
    assert not [name for name in elsewhere if version in (ROOT / name).read_text().replace(f">={version}", "")]


def test_documents_name_the_image_of_this_version() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        (path.name, tag) for path in documents for tag in re.findall(r"cm-exec-base:(\d\S*?)[\s`,)]", path.read_text())
    }
    assert {tag for _, tag in named} == {__version__}, named
