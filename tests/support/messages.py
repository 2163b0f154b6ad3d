"""Read the messages of the program from its source, and recognise them in lines."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import cm_exec

SOURCE: Final = Path(cm_exec.__file__).parent
_PLACEHOLDER: Final = re.compile(r"%[-.\d]*[a-z]|\{[^{}]*\}")
_LOGGED: Final = {"warning", "error", "exception"}
_RAISED: Final = {"NoRuntimeError", "AuthenticationError", "NotReadyError"}
_VALUE: Final = re.compile(r"…|'…'|\"[…\w]+\"|functions\.…|\d+(\.\d+)?")

_WORD: Final = re.compile(r"[A-Za-z]{2}")
_JOINTS: Final = {("", ": ", ""), ("", " ", ""), ("", " (", ")")}
"""What joins two messages; other strings without a word are not messages."""

Message = tuple[str, ...]
"""A message as its fixed parts: between two of them stands a value; the first and the last may be empty."""


@cache
def all_messages() -> list[Message]:
    """Return the lines of all strings and f-strings of the program, those with the most text first."""
    nodes = (node for tree in _trees(SOURCE) for node in ast.walk(tree))
    messages = {line for node in nodes for line in _lines(_parts(node)) if _WORD.search("".join(line))}
    return sorted(messages | _JOINTS, key=lambda parts: (-sum(map(len, parts)), parts))


def worker_s_messages() -> set[Message]:
    """Yield the warnings and errors that the worker logs, and the errors that end it."""
    folders = [SOURCE / name for name in ("runtime", "worker", "handlers", "processes")]
    trees = [tree for folder in folders for tree in _trees(folder)]
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    return {message for call in calls if _is_told(call) and any(message := _parts(call.args[0]))}


@cache
def is_written(line: str, values: frozenset[str]) -> bool:
    """Return whether the line is a message of the program. Its values are `…`, numbers, messages, or in `values`."""
    if not line or line in values or _VALUE.fullmatch(line):
        return True
    possible = [parts for parts in all_messages() if all(part in line for part in parts)]
    added = [parts[0] for parts in possible if _is_addition(parts) and line.endswith(parts[0])]
    return any(_fits(line, parts, values) for parts in possible) or any(
        is_written(line.removesuffix(end), values) for end in added
    )


def _fits(text: str, parts: Message, values: frozenset[str]) -> bool:
    first, *others = parts
    if not text.startswith(first):
        return False
    rest = text.removeprefix(first)
    if not others:
        return not rest
    ends = (match.end() for match in re.finditer(f"(?={re.escape(others[0])})", rest)) if others[0] else [len(rest)]
    return any(_fits(rest[end:], tuple(others), values) and is_written(rest[:end], values) for end in ends)


def _is_addition(message: Message) -> bool:
    """Return whether the message continues others, such as ", as happens when memory runs out"."""
    return len(message) == 1 and message[0].startswith((", ", "; "))


def _trees(folder: Path) -> Iterator[ast.Module]:
    for path in sorted(folder.rglob("*.py")):
        yield ast.parse(path.read_text())


def _is_told(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="log"), attr=name):
            return name in _LOGGED
        case ast.Name(id=name):
            return name in _RAISED
    return False


def _parts(node: ast.AST) -> Message:
    match node:
        case ast.Constant(value=str(text)):
            return tuple(_PLACEHOLDER.split(text))
        case ast.JoinedStr(values=values):
            return tuple("".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in values).split("\0"))
    return ("",)


def _lines(message: Message) -> Iterator[Message]:
    """Yield the message line by line."""
    for line in "\0".join(message).split("\n"):
        yield tuple(line.split("\0"))
