"""Reading the file itself."""

import os
from pathlib import Path
from typing import IO

import pytest

from cm_exec.config.load import load_config
from cm_exec.errors import ConfigError


def refusal_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "cm.toml"
    path.write_bytes(content)
    return path


def test_a_file_is_read_and_its_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, b'[functions]\nf = "cat"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("cm.toml"))
    assert config.path == tmp_path / "cm.toml"
    assert config.functions["f"].cwd == tmp_path


def test_folder_of_a_linked_file(tmp_path: Path) -> None:
    """The folder of a linked file is the folder of the link, not of its target."""
    (tmp_path / "mounted").mkdir()
    target = written(tmp_path / "mounted", b'functions.f = "cat"')
    link = tmp_path / "cm.toml"
    link.symlink_to(target)
    assert load_config(link).functions["f"].cwd == tmp_path


def test_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    """A byte order mark and carriage returns are accepted."""
    path = written(tmp_path, b'\xef\xbb\xbf[functions]\r\nf = "cat"\r\n')
    assert load_config(path).functions["f"].command == "cat"


def test_a_pipe_will_do() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"):
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(b'functions.f = "cat"')
        assert load_config(Path(f"/dev/fd/{reader}")).functions["f"].command == "cat"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cm.toml"
    remedy = "create a project with `cm-exec init`, or name the file with --config or CM_EXEC_CONFIG"
    assert refusal_of(path) == f"{path}: cannot be read: No such file or directory; {remedy}"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_below_a_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, b"") / "cm.toml"
    assert refusal_of(path) == f"{path}: cannot be read: Not a directory"


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, b"")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything: the kernel's answer is put in its place

        def denied(self: Path, _mode: str) -> IO[bytes]:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", denied)
    assert refusal_of(path) == f"{path}: cannot be read: Permission denied"


def test_invalid_utf8(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are reported with their position."""
    path = written(tmp_path, b'[functions]\nf = "caf\xe9"\n')
    assert refusal_of(path) == f"{path}: line 2, byte 9: expected UTF-8, found the byte 0xe9"


def test_position_in_a_file_of_one_line(tmp_path: Path) -> None:
    """An error in a file without line breaks is reported with the right position."""
    path = written(tmp_path, b"\xff\xfe[")
    assert refusal_of(path) == f"{path}: line 1, byte 1: expected UTF-8, found the byte 0xff"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = ", "line 1, column 5: not valid TOML: Invalid value"),
        ("[functions]\nf = cat\n", "line 2, column 5: not valid TOML: Invalid value"),
        ('[functions]\nf = "cat\n', "line 2, column 9: not valid TOML: Illegal character '\\n'"),
        ("a = 1\na = 2\n", "line 2, column 6: not valid TOML: Cannot overwrite a value"),
        ("a = " + "9" * 5000, "not valid TOML: an integer has thousands of digits"),
        ("a = " + "[" * 5000, "not valid TOML: hundreds of nested arrays or tables"),
    ],
)
def test_syntax_error(tmp_path: Path, content: str, message: str) -> None:
    """A syntax error is reported with its position."""
    path = written(tmp_path, content.encode())
    assert refusal_of(path) == f"{path}: {message}"


def test_an_error_has_no_other_error_behind_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert caught.value.__suppress_context__
