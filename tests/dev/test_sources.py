import os
from pathlib import Path

import pytest

from cm_exec.config.load import parse_config
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
def test_code(name: str, tmp_path: Path) -> None:
    """A change of code is a reason to restart."""
    watched = sources(tmp_path, function("f", ["cat"]))
    path = touched(tmp_path / name)
    assert watched.is_relevant(path)
    assert path in watched.marks(watched.folders())


@pytest.mark.parametrize("name", ["result.csv", "out.png", "log.txt", ".handler.py.swp", ".#handler.py", "data.sqlite"])
def test_data(name: str, tmp_path: Path) -> None:
    """A change of data or of an editor's files is no reason to restart."""
    assert not sources(tmp_path, function("f", ["cat"])).is_relevant(touched(tmp_path / name))


@pytest.mark.parametrize("command", [["./run"], ["sh", "run"], "sh run --fast | cat", "sh 'run' \"unclosed"])
def test_file_in_a_command(command: str | list[str], tmp_path: Path) -> None:
    """A change of a file that a command names is a reason to restart, whatever its name is."""
    path = touched(tmp_path / "run")
    named = not (isinstance(command, str) and "unclosed" in command)  # only the shell can tell there
    assert sources(tmp_path, function("f", command)).is_relevant(path) == named


def test_cwd(tmp_path: Path) -> None:
    """The folder of a function is watched wherever it is."""
    elsewhere = touched(tmp_path / "elsewhere" / "handler.py")
    home = tmp_path / "home"
    home.mkdir()
    watched = sources(home, function("f", ["cat"], cwd="../elsewhere"))
    assert elsewhere in watched.marks(watched.folders())


def test_dependencies(tmp_path: Path) -> None:
    """Installed packages are not watched."""
    for name in ("node_modules/a", ".venv/lib", "src/__pycache__", ".git/hooks"):
        touched(tmp_path / name / "x.py")
    assert sources(tmp_path, function("f", ["cat"])).folders() == [tmp_path, tmp_path / "src"]


def test_requested_folder(tmp_path: Path) -> None:
    """Each file below a folder that the user asks for is relevant."""
    model = touched(tmp_path / "models" / "weights.bin")
    assert sources(tmp_path, function("f", ["cat"]), tmp_path / "models").is_relevant(model)


def test_mark(tmp_path: Path) -> None:
    """Another version of a file has another mark."""
    watched = sources(tmp_path, function("f", ["cat"]))
    path = tmp_path / "handler.py"
    path.write_text("a")
    before = watched.marks(watched.folders())
    assert watched.marks(watched.folders()) == before
    draft = tmp_path / "draft"
    draft.write_text("b")
    draft.replace(path)
    assert watched.marks(watched.folders()) != before


def test_name_outside_utf_8(tmp_path: Path) -> None:
    """A folder whose name is not UTF-8 cannot be watched; the others are watched nevertheless."""
    watched = sources(tmp_path, function("f", ["cat"]))
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / "code").mkdir()
    assert watched.folders() == [tmp_path, tmp_path / "code"]
