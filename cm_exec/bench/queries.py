"""Which query each function is measured with."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cm_exec.cli.words import count_text
from cm_exec.protocol.json_text import json_problem
from cm_exec.protocol.nearest import nearest

_BESIDE: Final = "query.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """JSON text, and where it is from, in words."""

    body: bytes
    source: str


def choose_queries(
    functions: Collection[str], *, query: str | None, query_files: Iterable[str], beside: Path
) -> dict[str, Query]:
    """A query for each function; `beside` is the folder of cm.toml.

    What is said for one function goes before what is said for all, and this before a query.json. Raises
    click.UsageError for what cannot be read, or is no JSON and so could not be in a job.
    """
    own, common = _from_files(functions, query_files)
    if query is not None:
        if common is not None:
            raise click.UsageError("give one query for all functions, as --query or as --query-file, not both")
        common = Query(body=os.fsencode(query), source="--query")
    if common is None:
        common = _default(beside)
    queries = {name: own.get(name, common) for name in functions}
    for chosen in queries.values():
        if (problem := json_problem(chosen.body)) is not None:
            raise click.UsageError(f"the query of {chosen.source} is not JSON, as a job's query is: {problem}")
    return queries


def _default(beside: Path) -> Query:
    path = beside / _BESIDE
    if path.is_file():
        return Query(body=_read(path), source=str(path))
    return Query(body=b"{}", source="{}, as there is no --query, no --query-file and no query.json")


def _from_files(functions: Collection[str], texts: Iterable[str]) -> tuple[dict[str, Query], Query | None]:
    own: dict[str, Query] = {}
    common = None
    for text in texts:
        name, path = _split(functions, text)
        query = Query(body=_read(path), source=str(path))
        if name is None:
            common = query
        else:
            own[name] = query
    return own, common


def _split(functions: Collection[str], text: str) -> tuple[str | None, Path]:
    """The function and the file. A function's name may hold `=`, and so may a file's."""
    for name in sorted(functions, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, Path(text[len(name) + 1 :])
    if "=" in text and not Path(text).exists():
        wrong = text.partition("=")[0]
        near = nearest(wrong, functions)
        hint = f"; did you mean {near!r}?" if near else f"; measured are {', '.join(map(repr, functions))}"
        raise click.BadParameter(f"no function {wrong!r} is measured{hint}", param_hint="--query-file")
    return None, Path(text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--query-file") from None


def described(queries: Mapping[str, Query], name: str) -> str:
    """The query of a function in words."""
    query = queries[name]
    return f"query: {query.source}" + (f" ({count_text(len(query.body), 'byte')})" if query.body != b"{}" else "")
