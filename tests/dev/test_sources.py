import os
from pathlib import Path

import pytest

from cm_exec.config import parse_config
from cm_exec.devserver.watch import Sources
from tests.support.toml import function


def sources(folder: Path, text: str, *also: Path) -> Sources:
    (folder / "cm.toml").write_text(text)
    return Sources(parse_config(text, path=folder / "cm.toml"), also)


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("name", ["handler.py", "lib/deep/er.R", "report.JL", "Main.java", "cm.toml"])
def test_code_is_a_reason_to_restart(name: str, tmp_path: Path) -> None:
    watched = sources(tmp_path, function("f", ["cat"]))
    path = touched(tmp_path / name)
    assert watched.is_relevant(path)
    assert path in watched.marks(watched.folders())


@pytest.mark.parametrize("name", ["result.csv", "out.png", "log.txt", ".handler.py.swp", ".#handler.py", "data.sqlite"])
def test_data_and_an_editor_s_files_are_none(name: str, tmp_path: Path) -> None:
    assert not sources(tmp_path, function("f", ["cat"])).is_relevant(touched(tmp_path / name))


@pytest.mark.parametrize("command", [["./run"], ["sh", "run"], "sh run --fast | cat", "sh 'run' \"unclosed"])
def test_what_a_command_names_is_one_whatever_it_is_called(command: str | list[str], tmp_path: Path) -> None:
    path = touched(tmp_path / "run")
    named = not (isinstance(command, str) and "unclosed" in command)  # only the shell can tell there
    assert sources(tmp_path, function("f", command)).is_relevant(path) == named


def test_a_function_s_own_folder_is_watched_wherever_it_is(tmp_path: Path) -> None:
    elsewhere = touched(tmp_path / "elsewhere" / "handler.py")
    home = tmp_path / "home"
    home.mkdir()
    watched = sources(home, function("f", ["cat"], cwd="../elsewhere"))
    assert elsewhere in watched.marks(watched.folders())


def test_what_is_installed_is_not_watched(tmp_path: Path) -> None:
    for name in ("node_modules/a", ".venv/lib", "src/__pycache__", ".git/hooks"):
        touched(tmp_path / name / "x.py")
    assert sources(tmp_path, function("f", ["cat"])).folders() == [tmp_path, tmp_path / "src"]


def test_all_below_a_folder_that_is_asked_for_counts(tmp_path: Path) -> None:
    model = touched(tmp_path / "models" / "weights.bin")
    assert sources(tmp_path, function("f", ["cat"]), tmp_path / "models").is_relevant(model)


def test_another_version_of_a_file_has_another_mark(tmp_path: Path) -> None:
    watched = sources(tmp_path, function("f", ["cat"]))
    path = tmp_path / "handler.py"
    path.write_text("a")
    before = watched.marks(watched.folders())
    assert watched.marks(watched.folders()) == before
    draft = tmp_path / "draft"
    draft.write_text("b")
    draft.replace(path)
    assert watched.marks(watched.folders()) != before


def test_a_folder_whose_name_is_not_utf_8_is_left_out(tmp_path: Path) -> None:
    """Watchfiles cannot watch it, and the others are watched all the same."""
    watched = sources(tmp_path, function("f", ["cat"]))
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / "code").mkdir()
    assert watched.folders() == [tmp_path, tmp_path / "code"]
