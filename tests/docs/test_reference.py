"""What is generated and committed is up to date, and says all that there is to say."""

from pathlib import Path
from typing import Final

import pytest

from scripts.reference.exit_codes import EXIT_CODES
from scripts.reference.files import generated_files
from tests.support.documents import shown
from tests.support.errors import error_classes

FILES: Final = generated_files()


@pytest.mark.parametrize("path", [path for path in FILES if "completion" not in str(path)], ids=shown)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == FILES[path], "run: make reference"


def test_no_man_page_is_left_of_a_command_that_is_gone() -> None:
    folder = next(path.parent for path in FILES if path.suffix == ".1")
    assert {*folder.iterdir()} == {path for path in FILES if path.parent == folder}


@pytest.mark.parametrize("error", sorted(error_classes(), key=str))
def test_every_exit_code_has_its_words(error: type[Exception]) -> None:
    assert getattr(error, "exit_code", None) in EXIT_CODES
