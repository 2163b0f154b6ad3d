"""A module on the official Python SDK, with functions that work and functions that fail."""
# The SDK reads the annotations: a function without any is untyped for it.
# ruff: noqa: ANN001, ANN201, ARG001
# mypy: ignore-errors

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from compute_modules.annotations import function


class Numbers(TypedDict):
    x: int
    y: int


@function
def echo(context, event):
    return event


@function
def whoami(context, event):
    return {name: context[name] for name in ("jobId", "userId", "authHeader", "tempCredsAuthToken")}


@function
def add(context, event: Numbers) -> int:
    return event["x"] + event["y"]


@function
def not_an_integer(context, event: Numbers) -> int:
    return "five"


@function
def not_a_number(context, event: Numbers) -> float:
    return float("nan")


@function
def fail(context, event):
    raise ValueError("no such luck")


@function(streaming=True)
def count(context, event: Numbers) -> list[int]:
    def numbers() -> Iterator[int]:
        yield from range(event["x"], event["y"])

    return numbers()


@function(streaming=True)
def break_off(context, event: Numbers) -> list[str]:
    def words() -> Iterator[str]:
        yield "a"
        yield "b"
        raise ValueError("midway")

    return words()


@function
def die(context, event):
    os.kill(os.getpid(), signal.SIGKILL)


@function
def meet(context, event):
    """Return when the given number of jobs are running at once."""
    folder = Path(event["folder"])
    (folder / context["jobId"]).touch()
    while len(list(folder.iterdir())) < event["jobs"]:
        time.sleep(0.01)
    return event["jobs"]
