"""A test of a function, as `[[tests]]` declares it."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from cm_exec.protocol.failure import Reason

FailureReason = Literal[
    "exit",
    "signal",
    "timeout",
    "output_limit",
    "invalid_output",
    "invalid_query",
    "not_started",
    "out_of_step",
]
"""The reasons that a function can bring about by itself; the others need a runtime."""

Source = bytes | Path
"""The text itself, or the file that it is in; a file's path is absolute."""


class ResultIsJson(Struct, frozen=True, kw_only=True):
    """The result is the same JSON as `text`.

    With `subset` its objects may have more members. Numbers may differ by `tolerance`.
    """

    text: Source
    subset: bool = False
    tolerance: float = 0.0


class ResultIsBytes(Struct, frozen=True, kw_only=True):
    """The result is `body`, byte for byte."""

    body: Source


class ResultMatches(Struct, frozen=True, kw_only=True):
    """The regular expression `pattern` is found somewhere in the result."""

    pattern: str


class JobFails(Struct, frozen=True, kw_only=True):
    """The job fails: for this reason, and with this text in its error or in what the handler wrote to stderr.

    None where any will do.
    """

    reason: Reason | None
    contains: str | None


Expectation = ResultIsJson | ResultIsBytes | ResultMatches | JobFails


class FunctionTest(Struct, frozen=True, kw_only=True):
    """One query to one function, and what is expected of the job.

    `at` is where it stands, such as "tests[0]". `number` counts the tests of the function from 1; `name` is None for a
    test without one. `timeout` is in seconds, 0 for no limit, None for the function's own.
    """

    at: str
    function: str
    number: int
    name: str | None
    query: Source
    expected: Expectation
    timeout: float | None

    @property
    def label(self) -> str:
        """What tells it from the other tests of its function."""
        return self.name or f"{self.function} {self.number}"

    @property
    def title(self) -> str:
        """What tells it from all other tests."""
        return f"{self.function}: {self.name}" if self.name else self.label
