"""All files of a project are written, or none."""

from pathlib import Path

import pytest

from cm_exec.scaffold.create import ProjectFilesError, write_files


def test_written(tmp_path: Path) -> None:
    write_files(tmp_path / "a" / "b", {"one": "1\n", "src/two": "2\r\n"})
    assert (tmp_path / "a" / "b" / "one").read_bytes() == b"1\n"
    assert (tmp_path / "a" / "b" / "src" / "two").read_bytes() == b"2\r\n"


@pytest.mark.parametrize("last", ["taken", "taken/inside", "x" * 300])
def test_all_or_nothing(last: str, tmp_path: Path) -> None:
    """A file that cannot be written takes the others with it."""
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ProjectFilesError, match="nothing was written"):
        write_files(tmp_path, {"one": "1", "src/two": "2", last: "3"})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"
