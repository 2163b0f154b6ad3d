"""The core of the runtime does no I/O: its imports show it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cm_exec.local_runtime.core

CORE = Path(cm_exec.local_runtime.core.__file__).parent
PURE = {
    *("collections", "dataclasses", "difflib", "enum", "heapq", "hmac", "json", "random", "re", "types", "typing"),
    "msgspec",
    "urllib.parse",
    "cm_exec.datatypes",
    "cm_exec.local_runtime.core",
    "cm_exec.protocol",
}


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_imports(path: Path) -> None:
    """The modules of the core import only pure modules."""
    names = set(imported(path.read_text()))
    assert {name for name in names if not any(name == pure or name.startswith(f"{pure}.") for pure in PURE)} == set()
