"""Serves a Python function: gives it the queries of cm-exec as its type hints say, and writes what it returns.

usage: cm_handler.py MODULE:FUNCTION [--lines]
       cm_handler.py MODULE --lines

The query is all of stdin. With --lines, for a persistent function or a service, each line is a query in an envelope.
MODULE alone serves each public function of the module under its own name; a failure fails that job only. Results go to
file descriptor 3 (`result_fd = 3` in cm.toml), so that everything the functions print is a log.

A function has its inputs as parameters, or it has one event: a dataclass, a TypedDict or another class of typed
fields. A parameter called `context` receives the job's data, by the names of the official SDK (the caller's tokens
with `credentials = true` in cm.toml). In `(context, event)` an event without a hint is the whole query.

Values are encoded as by the official SDK: dates and decimals are strings, bytes are a string's UTF-8, and a datetime
is in UTC without a zone; it may also come as milliseconds since 1970.

This needs only Python 3.9 or later. It is yours: change it as you like.
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
    """Raised for a query that does not match the function's hints."""


# Queries


def to_datetime(value: Any) -> dt.datetime:
    """Parse a timestamp in one of its two forms."""
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
    """Convert a JSON value to the type of a hint. A hint without a JSON form leaves it as it is."""
    if value is None:
        return None
    if hasattr(hint, "__supertype__"):  # a NewType
        return typed(value, hint.__supertype__)
    if hasattr(hint, "__metadata__"):  # Annotated
        return typed(value, hint.__origin__)
    if inspect.isclass(hint):
        return of_class(value, hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        inner = [argument for argument in arguments if argument is not type(None)]
        return typed(value, inner[0]) if len(inner) == 1 else value
    if origin in MAPS and arguments:
        return {of_key(key, arguments[0]): typed(entry, arguments[1]) for key, entry in value.items()}
    if origin in ARRAYS and arguments:
        return ARRAYS[origin](typed(item, arguments[0]) for item in value)
    return value


def of_key(key: str, hint: Any) -> Any:
    """Convert a name in an object, where numbers are texts, to the key of a map."""
    is_enum = inspect.isclass(hint) and issubclass(hint, enum.Enum)
    values: Any = hint if is_enum else typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    named = {key_text(each): each for each in values}
    return named[key] if key in named else typed(key, hint)


def of_class(value: Any, cls: Any) -> Any:
    """Convert a JSON value to a scalar, an enum's member, or an object."""
    if cls in SCALARS:
        return SCALARS[cls](value)
    if issubclass(cls, enum.Enum):
        return cls(value)
    if not is_struct(cls):
        return value
    computed = computed_by(cls)
    found = members(value, hints_of(cls), optional_of(cls) | computed)
    return cls(**{name: each for name, each in found.items() if name not in computed})


def members(value: Any, hints: Mapping[str, Any], optional: frozenset[str]) -> dict[str, Any]:
    """Convert an object's members by their hints.

    Those in `optional` may be missing, or null if their hint has no None. Another Optional one that is missing is None.
    """
    if not isinstance(value, dict):
        raise MisfitError("expected an object")
    for unknown in value.keys() - hints.keys():
        raise MisfitError(f"{unknown}: unknown")
    found = {}
    for name, hint in hints.items():
        left_out = name not in value or (value[name] is None and name in optional and not takes_none(hint))
        if not left_out:
            found[name] = member(name, value[name], hint)
        elif name not in optional:
            if type(None) not in typing.get_args(hint):
                raise MisfitError(f"{name}: expected it, found nothing")
            found[name] = None
    return found


def member(name: str, value: Any, hint: Any) -> Any:
    """Convert one member. Raises MisfitError with its name."""
    try:
        return typed(value, hint)
    except (TypeError, ValueError, AttributeError, ArithmeticError, MisfitError) as error:
        raise MisfitError(f"{name}: {error}") from None


def takes_none(hint: Any) -> bool:
    """Report whether None is a value of a hint, as it is where there is none."""
    return hint in (None, Any) or type(None) in typing.get_args(hint)


def is_struct(cls: Any) -> bool:
    """Report whether it is a dataclass, a TypedDict or another class of typed fields."""
    try:
        return isinstance(cls, type) and cls.__module__ != "builtins" and bool(hints_of(cls))
    except NameError:  # a class of pandas, with hints for type checkers only
        return False


@functools.cache
def hints_of(owner: Any) -> Mapping[str, Any]:
    """Return the hints of a class or function, without NotRequired and the like around them."""
    return {
        name: typing.get_args(hint)[0] if str(typing.get_origin(hint)).endswith("equired") else hint
        for name, hint in typing.get_type_hints(owner).items()
        if typing.get_origin(hint) is not typing.ClassVar
    }


def optional_of(cls: Any) -> frozenset[str]:
    """Return the fields of a class that may be missing."""
    if not issubclass(cls, dict):
        return with_default(cls)
    # with `from __future__ import annotations` the class does not know what is required
    hints = typing.get_type_hints(cls, include_extras=True).items()
    around = {name: str(typing.get_origin(hint)).rpartition(".")[2] for name, hint in hints}
    known = getattr(cls, "__optional_keys__", ())
    return frozenset(n for n in around if around[n] == "NotRequired" or (n in known and around[n] != "Required"))


def computed_by(cls: Any) -> frozenset[str]:
    """Return the fields that a dataclass computes by itself: those without `init`."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return frozenset(each.name for each in fields if not each.init)


def with_default(function: Any) -> frozenset[str]:
    """Return the parameters that have a default."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(each.name for each in parameters if each.default is not each.empty)


# Results


def plain(value: Any) -> Any:
    """Convert a function's result to a value that JSON has."""
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
    cls: Any = type(value)
    if is_struct(cls):  # also one that can be iterated: a NamedTuple, a model of pydantic
        return {name: plain(getattr(value, name)) for name in hints_of(cls)}
    if isinstance(value, collections.abc.Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be a result")


def key_text(key: Any) -> str:
    """Convert a map's key to a string, as JSON needs it."""
    simple = plain(key)
    return simple if isinstance(simple, str) else json.dumps(simple)


def utc_text(moment: dt.datetime) -> str:
    """Write a timestamp as the official SDK does; one without a zone is in UTC."""
    if moment.tzinfo:
        moment = moment.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return f"{moment.isoformat()}Z"


# Jobs


def served(target: str) -> dict[str, Served]:
    """Import the module, and return its functions by name; the only function of MODULE:FUNCTION has no name."""
    module_name, colon, name = target.partition(":")
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    module: Any = importlib.import_module(module_name)
    if not colon:
        names = getattr(module, "__all__", None) or list(vars(module))
        functions = {name: inspect.unwrap(getattr(module, name)) for name in names if callable(getattr(module, name))}
        return {
            name: Served(function)
            for name, function in functions.items()
            if not name.startswith("_") and inspect.isfunction(function) and function.__module__ == module_name
        }
    function = module
    for part in name.split("."):
        function = getattr(function, part)
    return {"": Served(inspect.unwrap(function))}


class Served:
    """A function, and the form in which it takes its query."""

    def __init__(self, function: Any) -> None:
        self.function = function
        parameters = inspect.signature(self.function).parameters
        self.names = [name for name in parameters if name != "context"]
        self.takes_context = "context" in parameters
        self.by_position = {n: each.default for n, each in parameters.items() if each.kind is each.POSITIONAL_ONLY}

    def answer(self, query: Any, context: dict[str, Any]) -> bytes:
        """Call the function and return the result as JSON. Raises MisfitError for a query that does not match."""
        named = self.inputs(query)
        if self.takes_context:
            named["context"] = self.context(context)
        positional = [named.pop(name, default) for name, default in self.by_position.items()]
        result = self.function(*positional, **named)
        if inspect.isawaitable(result):
            result = asyncio.run(awaited(result))
        return json.dumps(plain(result), allow_nan=False).encode()

    def inputs(self, query: Any) -> dict[str, Any]:
        """Return the arguments for a query."""
        if len(self.names) == 1:
            (event,) = self.names
            hint = hints_of(self.function).get(event)
            if is_struct(hint):
                return {event: typed(query, hint)}
            if self.takes_context and hint in (None, dict, Any):
                return {event: query}
        return members(
            query, {name: hints_of(self.function).get(name) for name in self.names}, with_default(self.function)
        )

    def context(self, context: dict[str, Any]) -> Any:
        """Return the job's data by the hint: as a dict, or as a class such as the SDK's QueryContext."""
        hint: Any = hints_of(self.function).get("context")
        if not is_struct(hint):
            return context
        return hint(**{name: value for name, value in context.items() if name in hints_of(hint)})


async def awaited(coroutine: Any) -> Any:
    """Return the result of an async function."""
    return await coroutine


def surroundings() -> dict[str, Any]:
    """Return the data that the platform gives to all jobs, by the official SDK's names."""
    context: dict[str, Any] = {name: os.environ[name] for name in ("CLIENT_ID", "CLIENT_SECRET") if name in os.environ}
    path = os.environ.get("SOURCE_CREDENTIALS")
    context["sources"] = json.loads(Path(path).read_text(encoding="utf-8")) if path and Path(path).is_file() else {}
    return context


def of_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of an envelope, by the official SDK's names."""
    return {
        "jobId": job.get("jobId") or "",
        "userId": job.get("userId") or "",
        "authHeader": job.get("authHeader") or "",
        "tempCredsAuthToken": job.get("temporaryCredentialsAuthToken") or "",
    }


def job_of_environment() -> dict[str, Any]:
    """Return the data of the only job of this process, as an envelope has it."""
    names = {
        "jobId": "CM_JOB_ID",
        "userId": "CM_USER_ID",
        "authHeader": "CM_AUTH_HEADER",
        "temporaryCredentialsAuthToken": "CM_TEMPORARY_CREDENTIALS_AUTH_TOKEN",
    }
    return {key: os.environ.get(name) for key, name in names.items()}


def serve_one(function: Served, results: IO[bytes]) -> None:
    """Serve the only job of this process."""
    query = json.load(sys.stdin.buffer)
    results.write(function.answer(query, {**surroundings(), **of_job(job_of_environment())}))
    results.flush()


def serve_lines(functions: Mapping[str, Served], results: IO[bytes]) -> None:
    """Serve one job after another, until stdin ends. A function without a name ends the process when it fails."""
    for line in sys.stdin.buffer:
        job = json.loads(line)
        if "cancel" in job:
            continue
        try:
            function = functions.get("") or functions[job["queryType"]]
            answer = b'"result": ' + function.answer(job["query"], {**surroundings(), **of_job(job)})
        except Exception as error:
            if "" in functions:
                raise
            traceback.print_exc()
            answer = b'"error": ' + json.dumps(f"{type(error).__name__}: {error}").encode()
        results.write(b'{"jobId": %s, %s}\n' % (json.dumps(job["jobId"]).encode(), answer))
        results.flush()


def open_results() -> IO[bytes]:
    """Open file descriptor 3 for results; stdout if this is run by hand."""
    try:
        return os.fdopen(3, "wb")
    except OSError:
        return sys.stdout.buffer


def main(target: str, *options: str) -> int:
    """Serve, and return the exit status: 1 if a job failed. The reason is on stderr."""
    try:
        with open_results() as results:
            functions = served(target)
            if "--lines" in options:
                serve_lines(functions, results)
            else:
                serve_one(functions[""], results)
    except MisfitError as error:
        print(f"the query does not match {target}: {error}", file=sys.stderr)
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
