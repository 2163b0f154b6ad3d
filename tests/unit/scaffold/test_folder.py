"""A folder is written whole or not at all."""

from pathlib import Path

import pytest

from cm_exec.scaffold.folder import FolderError, existing, write_files


def test_all_files_are_written_with_their_folders(tmp_path: Path) -> None:
    write_files(tmp_path / "a" / "b", {"one": "1\n", "src/two": "2\r\n"})
    assert (tmp_path / "a" / "b" / "one").read_bytes() == b"1\n"
    assert (tmp_path / "a" / "b" / "src" / "two").read_bytes() == b"2\r\n"


@pytest.mark.parametrize("last", ["taken", "taken/inside", "x" * 300])
def test_a_file_that_cannot_be_written_takes_the_others_with_it(last: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(FolderError, match="nothing was written"):
        write_files(tmp_path, {"one": "1", "src/two": "2", last: "3"})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_link_that_leads_nowhere_is_taken_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert existing(tmp_path, ["one", "link"]) == ["link"]
