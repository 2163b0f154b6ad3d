"""Files that the kernel would not execute."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from cm_exec.preflight.executable import exec_problem

NOWHERE = "/no/such/folder"


def write(folder: Path, content: bytes) -> Path:
    path = folder / "program"
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def problem_of(path: Path, search_path: str = NOWHERE) -> tuple[str, str]:
    problem = exec_problem(path, search_path)
    return (problem.state, problem.message) if problem else ("", "")


@pytest.mark.parametrize(
    ("content", "state", "message"),
    [
        (b"#!/no/such/interpreter\n", "NO INTERPRETER", "needs the interpreter /no/such/interpreter, which does not"),
        (b"#! /no/such/interpreter -x\n", "NO INTERPRETER", "needs the interpreter /no/such/interpreter, which does"),
        (b"#!/usr/bin/env no-such-program\n", "NO INTERPRETER", "'no-such-program', which is not on PATH: install it"),
        (b"#!/usr/bin/env -S A=1 no-such-program -x\n", "NO INTERPRETER", "'no-such-program', which is not on PATH"),
        (b"#!/usr/bin/env bash -e\n", "BAD #! LINE", "one word: write '#!/usr/bin/env -S bash -e'"),
        (b"#!/bin/sh\r\necho\r\n", "CRLF", r"has Windows line ends, and Linux takes the carriage return"),
        (b"#!\n", "NO INTERPRETER", "names no interpreter"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "BYTE ORDER MARK", "starts with a UTF-8 byte order mark; remove it: sed -i '1s/"),
        (b"print(1)\n", "NO #! LINE", "has no #! line: add one, such as #!/bin/sh"),
        (b"", "NO #! LINE", "has no #! line"),
    ],
)
def test_wrong_script(tmp_path: Path, content: bytes, state: str, message: str) -> None:
    found = problem_of(write(tmp_path, content), "/usr/bin:/bin")
    assert found[0] == state
    assert message in found[1]


@pytest.mark.parametrize("content", [b"#!/bin/sh\r\nexit 0\r\n", b"\xef\xbb\xbf#!/bin/sh\nexit 0\n"])
def test_remedy_works(tmp_path: Path, content: bytes) -> None:
    """The command in the message makes the script executable."""
    path = write(tmp_path, content)
    _, message = problem_of(path, "/usr/bin:/bin")
    subprocess.run(message.partition(" it: ")[2], shell=True, check=True)
    assert problem_of(path, "/usr/bin:/bin") == ("", "")
    assert subprocess.run([path], check=False).returncode == 0


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"#! /bin/sh -e\n", b"#!/usr/bin/env -S sh -e\n", b"\xca\xfe\0"])
def test_good_script(tmp_path: Path, content: bytes) -> None:
    assert exec_problem(write(tmp_path, content), "/usr/bin:/bin") is None


def test_script_for_shell(tmp_path: Path) -> None:
    """A shell runs a script without a #! line itself."""
    assert exec_problem(write(tmp_path, b"echo 1\n"), NOWHERE, by_shell=True) is None


def test_no_file(tmp_path: Path) -> None:
    """What is not a file is not checked; opening a pipe would block."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent", tmp_path / "pipe", tmp_path):
        assert exec_problem(path, NOWHERE) is None


def program(*, machine: int | None = None, loader: bytes | None = None) -> bytes:
    """Return this machine's `true`, with another machine or another loader written into it."""
    found = shutil.which("true")
    assert found
    content = bytearray(Path(found).read_bytes())
    if machine is not None:
        struct.pack_into("<H", content, 18, machine)
    if loader is not None:
        start = content.index(b"/lib")
        end = content.index(b"\0", start)
        content[start:end] = loader.ljust(end - start, b"\0")
    return bytes(content)


def test_good_program(tmp_path: Path) -> None:
    assert exec_problem(write(tmp_path, program()), NOWHERE) is None


def test_other_machine(tmp_path: Path) -> None:
    here = struct.unpack_from("<H", program(), 18)[0]
    other = {62: (183, "aarch64"), 183: (62, "x86_64")}[here]
    state, message = problem_of(write(tmp_path, program(machine=other[0])))
    assert state == "OTHER MACHINE"
    assert f"is built for {other[1]}" in message


def test_other_libc(tmp_path: Path) -> None:
    state, message = problem_of(write(tmp_path, program(loader=b"/lib/ld-musl.so")))
    assert state == "OTHER LIBC"
    assert "needs the loader /lib/ld-musl.so, which does not exist here: it was built for another libc" in message


@pytest.mark.parametrize("size", [4, 20, 63, 64, 100, 300])
def test_truncated_program(tmp_path: Path, size: int) -> None:
    """A truncated program is not checked."""
    assert exec_problem(write(tmp_path, program()[:size]), NOWHERE) is None
