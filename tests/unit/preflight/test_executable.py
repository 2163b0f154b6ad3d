"""What keeps the kernel from executing a file."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from cm_exec.preflight.executable import hindrance

NOWHERE = "/no/such/folder"


def write(folder: Path, content: bytes) -> Path:
    path = folder / "program"
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"#!/no/such/interpreter\n", "needs /no/such/interpreter, which is not here"),
        (b"#! /no/such/interpreter -x\n", "needs /no/such/interpreter, which is not here"),
        (b"#!/usr/bin/env no-such-program\n", "needs no-such-program, which is not found in PATH"),
        (b"#!/usr/bin/env -S A=1 no-such-program -x\n", "needs no-such-program, which is not found in PATH"),
        (b"#!/bin/sh\r\necho\r\n", "Windows line ends"),
        (b"#!\n", "names no interpreter"),
        (b"print(1)\n", "has no #! line"),
        (b"", "has no #! line"),
    ],
)
def test_a_script_that_would_not_start(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in hindrance(write(tmp_path, content), "/usr/bin:/bin")


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"#! /bin/sh -e\n", b"#!/usr/bin/env -S sh -e\n", b"\xca\xfe\0"])
def test_a_script_that_would(tmp_path: Path, content: bytes) -> None:
    assert hindrance(write(tmp_path, content), "/usr/bin:/bin") == ""


def test_a_shell_needs_no_first_line(tmp_path: Path) -> None:
    assert hindrance(write(tmp_path, b"echo 1\n"), NOWHERE, by_shell=True) == ""


def test_a_program_that_is_not_there_is_not_judged(tmp_path: Path) -> None:
    assert hindrance(tmp_path / "absent", NOWHERE) == ""


def test_what_is_no_file_is_not_judged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert hindrance(tmp_path / "pipe", NOWHERE) == hindrance(tmp_path, NOWHERE) == ""


def program(*, machine: int | None = None, loader: bytes | None = None) -> bytes:
    """This machine's `true`, with another machine or another loader written into it."""
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


def test_this_machine_s_program_has_nothing_in_its_way(tmp_path: Path) -> None:
    assert hindrance(write(tmp_path, program()), NOWHERE) == ""


def test_a_program_for_another_machine(tmp_path: Path) -> None:
    here = struct.unpack_from("<H", program(), 18)[0]
    other = {62: (183, "aarch64"), 183: (62, "x86_64")}[here]
    assert f"is built for {other[1]}" in hindrance(write(tmp_path, program(machine=other[0])), NOWHERE)


def test_a_program_of_another_libc(tmp_path: Path) -> None:
    told = hindrance(write(tmp_path, program(loader=b"/lib/ld-musl.so")), NOWHERE)
    assert told == "needs the loader /lib/ld-musl.so, which is not here: it was built for another libc"


@pytest.mark.parametrize("size", [4, 20, 63, 64, 100, 300])
def test_a_program_that_breaks_off_is_not_judged(tmp_path: Path, size: int) -> None:
    assert hindrance(write(tmp_path, program()[:size]), NOWHERE) == ""
