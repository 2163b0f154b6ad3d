"""Serves a Python function: gives it the queries of cm-exec as its type hints say, and writes what it returns.

usage: cm_handler.py MODULE:FUNCTION [--lines]

The query is the whole of stdin; with --lines, for `mode = "persistent"`, each line is one, in an envelope. A result
goes to file descriptor 3 (`result_fd = 3` in cm.toml): what the function prints is a log and spoils no result.

The function has its inputs as parameters, or it has one event: a dataclass, a TypedDict or another class of typed
fields. A parameter called `context` gets what is known of the job, by the names of the official SDK (the caller's
tokens with `credentials = true` in cm.toml), and of `(context, event)` an event without a hint is the whole query.

Values are on the wire as the official SDK has them: dates and decimals are strings, bytes are a string's UTF-8, and
a datetime is in UTC without a zone; it may come as milliseconds since 1970, too.

This needs Python 3.9 and nothing else. It is yours: change it as you like.
"""

from __future__ import annotations

import asyncio
import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import importlib
import inspect
import json
import os
import sys
import traceback
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Callable

UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
ARRAYS: dict[Any, Callable[[Iterator[Any]], Any]] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Set: set,
    list: list,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Iterator: list,
    collections.abc.Generator: list,
}
MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class MisfitError(Exception):
    """A query that the function's hints do not fit."""


# Queries


def to_datetime(value: Any) -> dt.datetime:
    """A timestamp in one of its two forms."""
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        whole, point, fraction = value.replace("Z", "+00:00").partition(".")
        digits = fraction.partition("+")[0].partition("-")[0]
        if point:  # to microseconds, since Python up to 3.10 reads no other fractions
            whole += f".{digits[:6]:0<6}{fraction[len(digits) :]}"
        moment = dt.datetime.fromisoformat(whole)
    else:
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(milliseconds=int(value))
    return moment.astimezone(dt.timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment


SCALARS: dict[Any, Callable[[Any], Any]] = {
    bool: lambda value: value == "true" if isinstance(value, str) else bool(value),
    int: int,
    float: float,
    bytes: lambda value: value.encode(),
    dt.datetime: to_datetime,
    dt.date: dt.date.fromisoformat,
    decimal.Decimal: lambda value: decimal.Decimal(str(value)),
}


def typed(value: Any, hint: Any) -> Any:
    """A JSON value as a hint says. A hint that says nothing of JSON leaves it as it is."""
    if value is None:
        return None
    if hasattr(hint, "__supertype__"):  # a NewType
        return typed(value, hint.__supertype__)
    if inspect.isclass(hint):
        return of_class(value, hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        inner = [argument for argument in arguments if argument is not type(None)]
        return typed(value, inner[0]) if len(inner) == 1 else value
    if origin in MAPS and arguments:
        return {typed(key, arguments[0]): typed(entry, arguments[1]) for key, entry in value.items()}
    if origin in ARRAYS and arguments:
        return ARRAYS[origin](typed(item, arguments[0]) for item in value)
    return value


def of_class(value: Any, cls: Any) -> Any:
    """A scalar, an enum's member, or an object."""
    if cls in SCALARS:
        return SCALARS[cls](value)
    if issubclass(cls, enum.Enum):
        return cls(value)
    return cls(**members(value, hints_of(cls), optional_of(cls))) if is_struct(cls) else value


def members(value: Any, hints: Mapping[str, Any], optional: frozenset[str]) -> dict[str, Any]:
    """The members of an object by their hints. One of `optional` may be missing; one that may be None is None then."""
    if not isinstance(value, dict):
        raise MisfitError("expected an object")
    for unknown in value.keys() - hints.keys():
        raise MisfitError(f"{unknown}: unknown")
    found = {}
    for name, hint in hints.items():
        if name in value:
            found[name] = member(name, value[name], hint)
        elif name not in optional:
            if type(None) not in typing.get_args(hint):
                raise MisfitError(f"{name}: expected it, found nothing")
            found[name] = None
    return found


def member(name: str, value: Any, hint: Any) -> Any:
    """One member. Raises MisfitError with its name."""
    try:
        return typed(value, hint)
    except (TypeError, ValueError, AttributeError, ArithmeticError, MisfitError) as error:
        raise MisfitError(f"{name}: {error}") from None


def is_struct(cls: Any) -> bool:
    """Whether it is a dataclass, a TypedDict or another class of typed fields."""
    return isinstance(cls, type) and cls.__module__ != "builtins" and bool(hints_of(cls))


@functools.cache
def hints_of(owner: Any) -> Mapping[str, Any]:
    """The hints of a class or function, without NotRequired and the like around them."""
    return {
        name: typing.get_args(hint)[0] if str(typing.get_origin(hint)).endswith("equired") else hint
        for name, hint in typing.get_type_hints(owner).items()
        if typing.get_origin(hint) is not typing.ClassVar
    }


def optional_of(cls: Any) -> frozenset[str]:
    """The fields of a class that need not be there."""
    if issubclass(cls, dict):
        return frozenset(getattr(cls, "__optional_keys__", ()))
    return with_default(cls)


def with_default(function: Any) -> frozenset[str]:
    """The parameters that need not be given."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(each.name for each in parameters if each.default is not each.empty)


# Results


def plain(value: Any) -> Any:
    """A value that JSON has, of one that a function returns."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, collections.abc.Mapping):
        return {key_text(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dt.datetime):
        return utc_text(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, collections.abc.Iterable):
        return [plain(item) for item in value]
    cls: Any = type(value)
    if is_struct(cls):
        return {name: plain(getattr(value, name)) for name in hints_of(cls)}
    raise TypeError(f"a {type(value).__name__} cannot be a result")


def key_text(key: Any) -> str:
    """A key of a map: JSON has strings only."""
    simple = plain(key)
    return simple if isinstance(simple, str) else json.dumps(simple)


def utc_text(moment: dt.datetime) -> str:
    """As the official SDK writes a timestamp; one without a zone is in UTC."""
    if moment.tzinfo:
        moment = moment.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return f"{moment.isoformat()}Z"


# Jobs


class Served:
    """The function, and how it wants its query."""

    def __init__(self, target: str) -> None:
        module, _, name = target.partition(":")
        sys.path.insert(0, str(Path(__file__).resolve().parent))
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        self.function = inspect.unwrap(function)
        self.hints = hints_of(self.function)
        parameters = inspect.signature(self.function).parameters
        self.names = [name for name in parameters if name != "context"]
        self.takes_context = "context" in parameters
        self.by_position = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY]

    def answer(self, query: Any, context: dict[str, Any]) -> bytes:
        """The result as JSON. Raises MisfitError where the query does not fit."""
        named = self.inputs(query)
        if self.takes_context:
            named["context"] = self.context(context)
        positional = [named.pop(name) for name in self.by_position if name in named]
        result = self.function(*positional, **named)
        if inspect.isawaitable(result):
            result = asyncio.run(awaited(result))
        return json.dumps(plain(result), allow_nan=False).encode()

    def inputs(self, query: Any) -> dict[str, Any]:
        """The arguments."""
        if len(self.names) == 1:
            (event,) = self.names
            hint = self.hints.get(event)
            if is_struct(hint):
                return {event: typed(query, hint)}
            if self.takes_context and hint in (None, dict, Any):
                return {event: query}
        return members(query, {name: self.hints.get(name) for name in self.names}, with_default(self.function))

    def context(self, context: dict[str, Any]) -> Any:
        """What is known of the job, as the hint says: a dict, or a class such as the SDK's QueryContext."""
        hint: Any = self.hints.get("context")
        if not is_struct(hint):
            return context
        return hint(**{name: value for name, value in context.items() if name in hints_of(hint)})


async def awaited(coroutine: Any) -> Any:
    """The result of an async function."""
    return await coroutine


def surroundings() -> dict[str, Any]:
    """What the platform gives to all jobs, by the official SDK's names."""
    context: dict[str, Any] = {name: os.environ[name] for name in ("CLIENT_ID", "CLIENT_SECRET") if name in os.environ}
    path = os.environ.get("SOURCE_CREDENTIALS")
    context["sources"] = json.loads(Path(path).read_text(encoding="utf-8")) if path and Path(path).is_file() else {}
    return context


def of_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """What an envelope tells, by the official SDK's names."""
    return {
        "jobId": job.get("jobId") or "",
        "userId": job.get("userId") or "",
        "authHeader": job.get("authHeader") or "",
        "tempCredsAuthToken": job.get("temporaryCredentialsAuthToken") or "",
    }


def job_of_environment() -> dict[str, Any]:
    """What an envelope would tell, of a process that serves one job."""
    names = {
        "jobId": "CM_JOB_ID",
        "userId": "CM_USER_ID",
        "authHeader": "CM_AUTH_HEADER",
        "temporaryCredentialsAuthToken": "CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN",
    }
    return {key: os.environ.get(name) for key, name in names.items()}


def serve_one(served: Served, results: IO[bytes]) -> None:
    """The only job of this process."""
    query = json.load(sys.stdin.buffer)
    results.write(served.answer(query, {**surroundings(), **of_job(job_of_environment())}))
    results.flush()


def serve_lines(served: Served, results: IO[bytes]) -> None:
    """One job after another, until stdin ends."""
    for line in sys.stdin.buffer:
        job = json.loads(line)
        result = served.answer(job["query"], {**surroundings(), **of_job(job)})
        results.write(b'{"jobId": %s, "result": %s}\n' % (json.dumps(job["jobId"]).encode(), result))
        results.flush()


def open_results() -> IO[bytes]:
    """Where results go; stdout where somebody runs this by hand."""
    try:
        return os.fdopen(3, "wb")
    except OSError:
        return sys.stdout.buffer


def main(target: str, *options: str) -> int:
    """The exit status: 1 where a job failed. Why is on stderr."""
    try:
        with open_results() as results:
            (serve_lines if "--lines" in options else serve_one)(Served(target), results)
    except MisfitError as error:
        print(f"the query does not fit {target}: {error}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)  # the official SDK starts its own worker when the interpreter exits
