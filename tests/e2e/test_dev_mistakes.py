"""Mistakes in the options of `cm-exec dev`: one sentence explains each, before anything is started."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.dev_program import CM_EXEC, dev_environment, started_dev
from tests.support.toml import function

NOT_UTF8 = os.fsdecode(b"\xff")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cm.toml").write_text(function("who", 'printf "%s" "$CM_USER_ID"'))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "lines").write_text("one\ntwo\n")
    (tmp_path / "empty").touch()
    return tmp_path


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [CM_EXEC, *arguments],
        cwd=folder,
        env=dev_environment(folder),
        capture_output=True,
        check=False,
        timeout=60,
        encoding="utf-8",
        errors="replace",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ready-file", "missing/ready.json"], "missing/ready.json: No such file or directory"),
        (["--env-file", "missing/worker.env"], "missing/worker.env: No such file or directory"),
        (["--ready-file", "."], "is a directory"),
        (["--runtime-dir", "binary"], "is a file"),
        (["--runtime-dir", "binary/x"], "binary/x: Not a directory"),
        (["--port", "70000"], "70000 is not in the range"),
        (["--listen", "no such host"], "expected a host such as build.example or 192.0.2.1"),
        (["--listen", "192.0.2.1", "--port", "8950"], "cannot listen on 192.0.2.1, port 8950: "),
        (["--name", "a b"], "expected a host such as build.example or 192.0.2.1, without port, found 'a b'"),
        (["--name", ""], "expected a host such as"),
        (["--name", "build.example:8945"], "expected a host such as"),
        (["--name", NOT_UTF8], "expected a host such as"),
        (["--auth-header-file", "missing"], "missing: No such file or directory"),
        (["--auth-header-file", "binary"], "binary: expected UTF-8"),
        (["--auth-header-file", "lines"], "lines: expected one line of text"),
        (["--auth-header-file", "empty"], "empty: expected one line of text"),
        (["--user-id", NOT_UTF8], "expected one line of UTF-8 text"),
        (["--user-id", "a\nb"], "expected one line of UTF-8 text"),
        (["--call-timeout", "nan"], "'nan' is not a number"),
        (["--fault", "poll.sometimes"], "'sometimes' is none of latency"),
        (["--watch", "missing"], "'missing' does not exist"),
    ],
    ids=lambda value: " ".join(value).encode(errors="backslashreplace").decode() if isinstance(value, list) else "",
)
def test_options(folder: Path, options: list[str], sentence: str) -> None:
    """A mistake in an option of dev gets an explanation."""
    done = run(folder, "dev", *(options if "--port" in options else ["--port", "0", *options]))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_deleted_folder_of_the_ready_file(folder: Path) -> None:
    """A ready file that cannot be written is reported, and the worker polls nevertheless."""
    (folder / "out").mkdir()
    (folder / "app.sh").write_text(
        f"until [ -e go ]; do sleep 0.05; done; exec {CM_EXEC} run --config {folder / 'cm.toml'}\n"
    )
    with started_dev(folder, "--ready-file", "out/ready.json", "--", "sh", "app.sh") as program:
        program.wait_for_output("console")
        shutil.rmtree(folder / "out")
        (folder / "go").touch()
        program.wait_for_output("out/ready.json cannot be written: No such file or directory")
        assert program.call("who") == b""


@pytest.mark.parametrize("user", ["ada", "Zoë", "日本"])
def test_user_with_any_name(folder: Path, user: str) -> None:
    """A user may have any name in `dev`, `invoke` and curl, which sends UTF-8 in headers."""
    with started_dev(folder, "--user-id", user) as program:
        program.wait_until_ready()
        assert program.call("who") == user.encode()
        assert program.run("invoke", "--dev", "--user-id", f"{user}!", "who", "1").stdout == f"{user}!".encode()
        line = ["curl", "-s", "-H", f"Authorization: Bearer {program.token}", "-H", f"X-User-Id: {user}?"]
        done = subprocess.run([*line, f"{program.url}/functions/who", "-d", "1"], capture_output=True, check=True)
        assert done.stdout == f"{user}?".encode()


@pytest.mark.parametrize(
    "options",
    [
        ["--user-id", "a\nb"],
        ["--user-id", NOT_UTF8],
        ["--auth-header-file", "binary"],
        ["--auth-header-file", "lines"],
        ["--dev-url", "http://[::1"],
        ["--dev-url", "http://127.0.0.1:99999"],
        ["--dev-url", "http://127.0.0.1:port"],
        ["--dev-url", "https://127.0.0.1:8950"],
        ["--dev-url", NOT_UTF8],
        ["--dev-url", "http://a b"],
        ["--dev-url", f"http://{'a' * 70}"],
    ],
    ids=lambda options: " ".join(options).encode(errors="backslashreplace").decode(),
)
def test_options_of_invoke(folder: Path, options: list[str]) -> None:
    """A mistake in an option of invoke gets an explanation."""
    done = run(folder, "invoke", *options, "who", "1")
    assert done.returncode in {2, 4}
    assert "Traceback" not in done.stderr
    assert done.stderr


@pytest.mark.parametrize("address", ["127.0.0.2", "::1", "0.0.0.0", "::"])
def test_listen_address(folder: Path, address: str) -> None:
    """The worker of dev reaches each address that dev listens on."""
    with started_dev(folder, "--listen", address) as program:
        program.wait_for_output("the worker is connected")
        done = program.run("invoke", "--dev", "--user-id", "ada", "who", "1")
        assert (done.returncode, done.stdout) == (0, b"ada"), done.stderr
