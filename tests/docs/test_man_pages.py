"""The man pages cause no warnings of man(1)."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.tools import needs

PAGES = sorted((ROOT / "share" / "man").glob("*/*"))


@needs("man")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_warnings(page: Path) -> None:
    """The command man shows each page without a warning."""
    done = subprocess.run(
        ["man", "--warnings", "--local-file", page],
        env={**os.environ, "MANROFFSEQ": "", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANPAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"NAME\n       {page.stem} - " in done.stdout
