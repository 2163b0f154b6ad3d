"""The files that say what goes into the bundle, and what builds it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = {
    "requirements.txt": PYPROJECT["project"]["dependencies"],
    "build-requirements.txt": PYPROJECT["dependency-groups"]["bundle"],
}


def locked(text: str) -> dict[str, Version]:
    return {name: Version(version) for name, version in re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("name", FILES)
def test_locked_versions(name: str) -> None:
    """The locked version of each requirement satisfies it."""
    versions = locked((ROOT / "packaging" / name).read_text())
    for requirement in map(Requirement, FILES[name]):
        assert requirement.specifier.contains(versions[requirement.name]), requirement


@pytest.mark.parametrize("name", FILES)
def test_requirements(name: str) -> None:
    """Every version has hashes, and no index is named."""
    text = (ROOT / "packaging" / name).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []
    assert [entry for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []
