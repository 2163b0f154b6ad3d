"""The code in the documents is valid in the language that its block names."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cm_exec.config.checks import MODES_OF
from cm_exec.config.load import parse_config
from tests.support.documents import PAGES, Block, blocks, shown
from tests.support.tools import needs

FUNCTION = '[functions.NAME]\ncommand = "cat"\n'
HTTP = 'mode = "persistent"\nprotocol = "http"\nurl = "http://localhost:8000"\n'
NEEDED = {
    "check_queries": 'inputs = { a = "string" }\n',
    "check_results": 'returns = "string"\n',
    "request": HTTP,
    "query": HTTP,
    "body": HTTP,
}
"""Other keys that a key needs."""


def of_language(*languages: str) -> Callable[[Any], Any]:
    """Parametrize by the blocks of the documents in one of these languages."""
    found = [(page, block) for page in PAGES for block in blocks(page) if block.language in languages]
    names = [f"{shown(page)}:{block.line}" for page, block in found]
    return pytest.mark.parametrize("block", [block for _, block in found], ids=names)


@of_language("toml")
def test_toml(block: Block, tmp_path: Path) -> None:
    """A block of TOML is a valid cm.toml or a valid part of one."""
    for text in whole_files(block):
        assert parse_config(text, path=tmp_path / "cm.toml").functions


def whole_files(block: Block) -> Iterator[str]:
    """Yield the files to check: the block itself, or for a fragment a file that contains it."""
    if block.file and block.file != "cm.toml":
        return  # another file, or an intentionally invalid one
    if block.fragment_of in FRAGMENTS:
        yield from map(FRAGMENTS[block.fragment_of], block.text.splitlines()[1:])
    elif block.fragment_of:
        yield f"{FUNCTION}\n{block.fragment_of}\n{block.text}"
    else:
        yield block.text if "[functions" in block.text else FUNCTION + block.text


def with_key(line: str) -> str:
    """Return a file whose only function has the key and what the key needs."""
    key = line.partition(" ")[0]
    if key == "command":
        return f"[functions.NAME]\n{line}\n"
    if key == "service":
        return f'[services.model]\ncommand = "cat"\n[functions.NAME]\n{line}\n'
    mode = f'mode = "{MODES_OF[key][-1]}"\n' if key in MODES_OF and key not in NEEDED else ""
    return f"{FUNCTION}{mode}{NEEDED.get(key, '')}{line}\n"


def with_service_key(line: str) -> str:
    """Return a file whose only service has the key and what the key needs."""
    protocol = 'protocol = "http"\n' if line.startswith("url") else ""
    url = 'url = "unix:/api.sock"\n' if "http" in line and not protocol else ""
    return f'[services.NAME]\ncommand = "cat"\n{protocol}{url}{line}\n[functions.f]\nservice = "NAME"\n'


def with_test(line: str) -> str:
    """Return a file whose only test has the key and what a test needs."""
    key = line.partition(" ")[0]
    function = "" if key == "function" else 'function = "double"\n'
    query = "" if key.startswith("query") else "query = 21\n"
    result = "" if key.startswith(("result", "error")) else "result = 42\n"
    return f'[functions.double]\ncommand = "cat"\n[[tests]]\n{function}{query}{result}{line}\n'


FRAGMENTS = {"[functions.NAME]": with_key, "[services.NAME]": with_service_key, "[[tests]]": with_test}
"""Tables whose fragments are read line by line, since each key stands for itself."""


@of_language("python")
def test_python(block: Block) -> None:
    """A block of Python compiles."""
    compile(block.text, block.file or "block", "exec", dont_inherit=True)


@needs("node")
@of_language("js")
def test_javascript(block: Block, tmp_path: Path) -> None:
    """Node accepts the syntax of a block of JavaScript."""
    path = tmp_path / "block.mjs"
    path.write_text(block.text)
    done = subprocess.run(["node", "--check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@of_language("json")
def test_json(block: Block) -> None:
    """A block of JSON is valid JSON."""
    json.loads(block.text)


def test_language() -> None:
    """Every block names its language."""
    assert not [f"{shown(page)}:{b.line}" for page in PAGES for b in blocks(page) if not b.language]
