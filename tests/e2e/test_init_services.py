"""`cm-exec init` writes services: programs that stay up and serve several functions."""

import json
import re
from pathlib import Path

import pytest

from tests.support.scaffold import init, run
from tests.support.tools import needs

SERVICES = [
    pytest.param("python", marks=needs("python3")),
    pytest.param("node", marks=needs("node")),
    pytest.param("go", marks=needs("go", "make")),
    pytest.param("java", marks=needs("java", "javac", "make")),
]

LIBRARY = """
import pathlib
import sys
from dataclasses import dataclass
from pathlib import Path

@dataclass
class Book:
    title: str
    year: int

BOOKS = {}

def add_book(book: Book) -> int:
    print("a print is a log line")
    sys.stdout.flush()
    BOOKS[book.title] = book
    return len(BOOKS)

def get_book(title: str) -> Book:
    return BOOKS[title]

def read(path: Path) -> str:
    return path.read_text()

def _private(n: int) -> int:
    return n
"""


def created(folder: Path, *arguments: str) -> str:
    """Create a project, build it if it must be built, and return what `cm-exec test` prints."""
    done = init(folder, ".", *arguments)
    assert done.returncode == 0, done.stderr
    if re.search("^build:", (folder / "Makefile").read_text(), re.MULTILINE):
        assert run(folder, "make", "build").returncode == 0
    checked = run(folder, "cm-exec", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    tested = run(folder, "cm-exec", "test")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    return tested.stdout


@pytest.mark.parametrize("language", SERVICES)
def test_template(language: str, tmp_path: Path) -> None:
    """Both functions work; an error keeps the process, and has the handler's own text."""
    assert "4 tests: 4 passed" in created(tmp_path, "--mode", "service", "--lang", language)
    goodbye = run(tmp_path, "cm-exec", "invoke", "farewell", '{"name": "Zoë"}')
    assert json.loads(goodbye.stdout) == "Goodbye, Zoë!"
    failed = run(tmp_path, "cm-exec", "invoke", "greet", '{"name": ""}')
    failure = json.loads(failed.stdout)
    assert (failure["error"], failure["reason"]) == ("the name is empty", "handler")


def test_name(tmp_path: Path) -> None:
    name = 'it\'s "a.b" \\ ü'
    created(tmp_path, "--mode", "service", "--name", name)
    done = run(tmp_path, "cm-exec", "invoke", name, '{"name": "Ada"}')
    assert json.loads(done.stdout) == "Hello, Ada!"


@needs("python3")
def test_module(tmp_path: Path) -> None:
    """All public functions of a module share one process; one without types is left out, and named."""
    (tmp_path / "library.py").write_text(LIBRARY)
    done = init(tmp_path, "--from-python", "library")
    assert done.returncode == 0, done.stderr
    note = "the function read is left out: path: pathlib.Path has no counterpart among Foundry's types; use str"
    assert note in done.stderr
    tested = run(tmp_path, "cm-exec", "test", "--jobs", "1")
    assert "4 tests: 4 passed" in tested.stdout, tested.stdout + tested.stderr
    failed = run(tmp_path, "cm-exec", "invoke", "get_book", '{"title": "none"}')
    failure = json.loads(failed.stdout)
    assert (failure["error"], failure["reason"]) == ("KeyError: 'none'", "handler")
    schemas = run(tmp_path, "cm-exec", "schema").stdout
    assert [schema["functionName"] for schema in json.loads(schemas)] == ["add_book", "get_book"]


@needs("python3")
def test_module_with_hints_for_type_checkers(tmp_path: Path) -> None:
    """A function whose hints cannot be read is left out, and does not keep the others from being served."""
    helper = """
from __future__ import annotations
from typing import TYPE_CHECKING, Final
if TYPE_CHECKING:
    from pandas import DataFrame

def double(number: int) -> int: return number * 2
def helper(table: DataFrame) -> int: return 1
def final(number: Final[int]) -> int: return 1
"""
    (tmp_path / "library.py").write_text(helper)
    done = init(tmp_path, "--from-python", "library")
    assert done.returncode == 0, done.stderr
    assert "the function helper is left out: the hints of helper cannot be read" in done.stderr
    tested = run(tmp_path, "cm-exec", "test")
    assert "2 tests: 2 passed" in tested.stdout, tested.stdout + tested.stderr


def test_module_without_functions(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    done = init(tmp_path, "--from-python", "empty")
    assert done.returncode == 2
    assert "empty has no function that can be served" in re.sub(r"\s+", " ", done.stderr)
