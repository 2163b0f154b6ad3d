"""The committed files that are generated are up to date and complete."""

from pathlib import Path
from typing import Final

import pytest

from scripts.reference.exit_codes import EXIT_CODES
from scripts.reference.files import generated_files
from tests.support.documents import ROOT, shown
from tests.support.errors import error_classes

FILES: Final = generated_files()


@pytest.mark.parametrize("path", [path for path in FILES if "completion" not in str(path)], ids=shown)
def test_generated_files(path: Path) -> None:
    """A generated file is up to date."""
    assert path.read_text() == FILES[path], "run: make reference"


def test_surplus_files() -> None:
    """No generated file remains without a source."""
    folder = ROOT / "share"
    assert {path for path in folder.rglob("*") if path.is_file()} == {path for path in FILES if folder in path.parents}


@pytest.mark.parametrize("error", sorted(error_classes(), key=str))
def test_exit_codes(error: type[Exception]) -> None:
    """Every exit code has a description."""
    assert getattr(error, "exit_code", None) in EXIT_CODES
