"""The script that a command gives to a known interpreter."""

from pathlib import Path

import pytest

from cm_exec.preflight.script import script_problem

MISSING = [
    ["bash", "lost.sh"],
    ["sh", "-eu", "lost.sh"],
    ["/bin/bash", "-o", "pipefail", "--", "lost.sh", "x"],
    ["python3", "lost.py"],
    ["python3.12", "-u", "-W", "ignore", "-X", "dev", "lost.py"],
    ["node", "lost.mjs"],
    ["node", "--require", "x", "--max-old-space-size=9", "lost.mjs"],
    ["Rscript", "--vanilla", "lost.R"],
    ["ruby", "-I", "lib", "-w", "lost.rb"],
    ["php", "-d", "x=1", "lost.php"],
    ["php", "-f", "lost.php"],
    ["perl", "-w", "-Mstrict", "lost.pl"],
    ["julia", "--project=.", "lost.jl"],
    ["java", "-jar", "lost.jar"],
    ["java", "-Xmx1g", "Lost.java"],
    ["java", "-XX:+UseSerialGC", "-cp", "lost", "Handler"],
    ["java", "--class-path=lost", "com.example.Handler"],
]


@pytest.mark.parametrize("argv", MISSING, ids=" ".join)
def test_missing(tmp_path: Path, argv: list[str]) -> None:
    problem = script_problem(argv, tmp_path)
    assert problem
    assert problem.state == "NOT FOUND"
    assert str(tmp_path) in problem.message
    assert "ost" in problem.message
    assert problem.message.endswith("does not exist: create it, or correct its path")


@pytest.mark.parametrize("argv", [*MISSING[-4:], ["python3", "lost.py"]], ids=" ".join)
def test_missing_with_makefile(tmp_path: Path, argv: list[str]) -> None:
    """The remedy is `make build` if a Makefile has that target."""
    (tmp_path / "Makefile").write_text("build: classes\n")
    problem = script_problem(argv, tmp_path)
    assert problem
    assert problem.message.endswith(f"does not exist: run `make build` in {tmp_path}")


NOTHING_TO_CHECK = [
    ["cat", "lost.py"],
    ["bash", "-c", "lost.sh"],
    ["bash", "-ec", "lost.sh"],
    ["python3", "-c", "lost.py"],
    ["python3", "-m", "lost"],
    ["python3", "-um", "lost"],
    ["python3", "-"],
    ["python3"],
    ["node", "-e", "lost"],
    ["node", "--eval=lost"],
    ["Rscript", "-e", "lost"],
    ["ruby", "-ne", "lost"],
    ["ruby", "-S", "lost"],
    ["php", "-r", "lost"],
    ["perl", "-lne", "lost"],
    ["perl", "-MJSON::PP", "-e", "lost"],
    ["julia", "-e", "lost"],
    ["java", "-m", "lost/Handler"],
    ["java", "-cp", "lib/*", "Handler"],
    ["java", "-version"],
]


@pytest.mark.parametrize("argv", NOTHING_TO_CHECK, ids=" ".join)
def test_no_script(tmp_path: Path, argv: list[str]) -> None:
    assert script_problem(argv, tmp_path) is None


@pytest.mark.parametrize(
    ("argv", "file"),
    [
        (["python3", "x.py"], "x.py"),
        (["python3", "-u", "pkg"], "pkg/__main__.py"),
        (["node", "x"], "x.js"),
        (["node", "."], "index.js"),
        (["java", "-cp", "classes", "com.example.Handler"], "classes/com/example/Handler.class"),
        (["java", "-cp", "lib.jar:classes", "Handler"], "lib.jar"),
        (["java", "Handler"], "Handler.class"),
        (["java", "-jar", "app.jar"], "app.jar"),
    ],
)
def test_found(tmp_path: Path, argv: list[str], file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert script_problem(argv, tmp_path) is None


@pytest.mark.parametrize(
    ("argv", "content", "state"),
    [
        (["bash", "x"], b"echo 1\r\n", "CRLF"),
        (["sh", "x"], b"#!/bin/sh\r\necho 1\r\n", "CRLF"),
        (["bash", "x"], b"\xef\xbb\xbf#!/bin/sh\n", "BYTE ORDER MARK"),
        (["php", "x"], b"\xef\xbb\xbf<?php\n", "BYTE ORDER MARK"),
        (["Rscript", "x"], b"\xef\xbb\xbfcat(1)\n", "BYTE ORDER MARK"),
        (["node", "x"], b"\xef\xbb\xbf#!/usr/bin/env node\n", "BYTE ORDER MARK"),
        (["python3", "x"], b"\xef\xbb\xbfprint(1)\r\n", None),
        (["perl", "x"], b"print 1;\r\n", None),
    ],
)
def test_content(tmp_path: Path, argv: list[str], content: bytes, state: str | None) -> None:
    """Content is a problem only for interpreters that it harms."""
    (tmp_path / "x").write_bytes(content)
    problem = script_problem(argv, tmp_path)
    assert (problem and problem.state) == state
    assert problem is None or "sed -i" in problem.message


def test_folder(tmp_path: Path) -> None:
    problem = script_problem(["perl", "."], tmp_path)
    assert problem
    assert problem.state == "IS A FOLDER"
