"""What is generated and committed is up to date, and says all that there is to say."""

from pathlib import Path
from typing import Final

import pytest

from scripts.reference.exit_codes import EXIT_CODES
from scripts.reference.files import generated_files
from tests.support.documents import ROOT, shown
from tests.support.errors import error_classes

FILES: Final = generated_files()


@pytest.mark.parametrize("path", [path for path in FILES if "completion" not in str(path)], ids=shown)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == FILES[path], "run: make reference"


def test_nothing_is_left_of_what_is_gone() -> None:
    folder = ROOT / "share"
    assert {path for path in folder.rglob("*") if path.is_file()} == {path for path in FILES if folder in path.parents}


@pytest.mark.parametrize("error", sorted(error_classes(), key=str))
def test_every_exit_code_has_its_words(error: type[Exception]) -> None:
    assert getattr(error, "exit_code", None) in EXIT_CODES
