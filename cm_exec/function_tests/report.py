"""The report of a run: lines for people with the problems of failed tests, and JUnit XML, which CI systems read."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from cm_exec.function_tests import PreparedTest
from cm_exec.function_tests.runner import CompletedTest
from cm_exec.terminal import BOLD, CYAN, DIM, GREEN, RED, Terminal
from cm_exec.text import count_text, duration_text, visible

_MARKS: Final = {True: ("✓", "✗"), False: ("ok  ", "FAIL")}
_MOST_STDERR: Final = 20
"""Lines."""

_LONGEST_STDERR: Final = 200
_LONGEST_QUERY: Final = 2000
"""Characters of a query that still goes into a command line."""

_FEW: Final = 20
"""A run of more tests ends with a list of the failed ones."""

_COLOURS: Final = {"-": RED, "+": GREEN}


class FunctionTestReport:
    """Writes to stdout. `config_path` is the path of cm.toml as the user wrote it; see `rerun_command`."""

    def __init__(
        self, config_path: Path, *, dev_options: Sequence[str] = (), worker_command: Sequence[str] = ()
    ) -> None:
        self._config_path = config_path
        self._dev_options = dev_options
        self._worker_command = worker_command
        self._terminal = Terminal()
        self._encoding = (sys.stdout.encoding if sys.stdout else None) or "utf-8"
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._passed, self._failed = _MARKS[is_terminal and self._can_write("✓✗")]

    def ended(self, test: CompletedTest) -> None:
        """Report a test that has ended."""
        title, took = test.case.test.title, self._styled(f"({duration_text(test.seconds)})", DIM)
        if test.problem is None:
            self._write(f"{self._styled(self._passed, GREEN)} {visible(title)} {took}")
            return
        head = f"{self._styled(self._failed, RED)} {self._styled(visible(title), BOLD)} {took}"
        self._write("\n".join([head, *(f"    {line}".rstrip() for line in self._failure(test))]))

    def _failure(self, test: CompletedTest) -> Iterator[str]:
        problem = test.problem
        assert problem is not None  # noqa: S101 - the caller has checked
        reason = f" ({problem.reason})" if problem.reason else ""
        yield visible(problem.message) + reason
        yield from (self._styled(f"  {visible(line)}", _COLOURS.get(line[:1], "")) for line in problem.details)
        if test.stderr.strip():
            yield "stderr:"
            yield from (self._styled(f"  | {line}", DIM) for line in _end_of(test.stderr))
        again = rerun_command(
            test.case, self._config_path, dev_options=self._dev_options, worker_command=self._worker_command
        )
        yield f"again: {self._styled(visible(again), CYAN)}"

    def summary(
        self, cases: Sequence[PreparedTest], completed: Sequence[CompletedTest], *, seconds: float, interrupted: bool
    ) -> None:
        """Print how many tests passed, failed and did not run."""
        failed = [one for one in completed if one.problem is not None]
        if len(completed) > _FEW:
            for one in sorted(failed, key=lambda one: cases.index(one.case)):
                self._write(f"{self._styled(self._failed, RED)} {visible(one.case.test.title)}")
        counts = [
            self._styled(f"{len(failed)} failed", RED) if failed else "",
            self._styled(f"{len(completed) - len(failed)} passed", GREEN) if len(completed) > len(failed) else "",
            f"{len(cases) - len(completed)} not run" if len(cases) > len(completed) else "",
        ]
        interruption = "interrupted: " if interrupted else ""
        tests = count_text(len(cases), "test")
        self._write(f"\n{interruption}{tests}: {', '.join(filter(None, counts))}, in {duration_text(seconds)}")

    def _styled(self, text: str, style: str) -> str:
        return self._terminal.styled(text, style)

    def _write(self, text: str) -> None:
        """Write a text, with escapes for characters that the terminal lacks."""
        self._terminal.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))

    def _can_write(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True


def _end_of(stderr: bytes) -> Iterator[str]:
    lines = stderr.decode(errors="backslashreplace").replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(lines) > _MOST_STDERR:
        yield f"… {len(lines) - _MOST_STDERR:,} lines before"
    for line in lines[-_MOST_STDERR:]:
        yield visible(line if len(line) <= _LONGEST_STDERR else f"{line[:_LONGEST_STDERR]}…")


def rerun_command(
    case: PreparedTest, config_path: Path, *, dev_options: Sequence[str] = (), worker_command: Sequence[str] = ()
) -> str:
    """Return the command line that runs the query again and shows the whole result.

    `dev_options` choose a running dev, `worker_command` is another worker, which is started for the test again.
    """
    test = case.test
    config = [] if config_path == Path("cm.toml") else ["--config", str(config_path)]
    if worker_command:
        return shlex.join(["cm-exec", "test", *config, test.title, "--", *worker_command])
    command = ["cm-exec", "invoke", *config, *dev_options]
    if test.user_id is not None:
        command += ["--user-id", test.user_id]
    if isinstance(test.query, Path):
        command += ["--query-file", _relative(test.query, config_path)]
        return shlex.join([*command, *_arguments(test.function)])
    query = case.query.decode()
    if len(query) > _LONGEST_QUERY or "\0" in query:
        return shlex.join(["cm-exec", "test", *config, *dev_options, *_arguments(test.title)])
    return shlex.join([*command, *_arguments(test.function, query)])


def _arguments(*arguments: str) -> list[str]:
    """Return positional arguments, none of which is taken for an option."""
    return ["--", *arguments] if any(argument.startswith("-") for argument in arguments) else list(arguments)


def _relative(path: Path, config_path: Path) -> str:
    """Return the file's path relative to the current folder."""
    folder = config_path.parent
    try:
        return str(folder / path.relative_to(folder.absolute()))
    except ValueError:
        return str(path)


_NOT_RUN: Final = "not run"


def junit_xml(
    cases: Sequence[PreparedTest], completed: Iterable[CompletedTest], *, started: str, seconds: float
) -> bytes:
    """Return a `testsuites` element with a `testsuite` for each function and a `testcase` for each of its tests.

    A wrong result is a `failure`; a job that failed though a result was expected is an `error`; a test that did not
    run is `skipped`. `started` is an ISO 8601 time.
    """
    by_test = {one.case.test.at: one for one in completed}
    root = ET.Element("testsuites", name="cm-exec test", time=_seconds_text(seconds))
    for function in dict.fromkeys(case.test.function for case in cases):
        suite = ET.SubElement(root, "testsuite", name=visible(function), timestamp=started)
        own = [case for case in cases if case.test.function == function]
        for case in own:
            _add_case(suite, case, by_test.get(case.test.at))
        _count_tests(suite)
        suite.set("time", _seconds_text(sum(by_test[c.test.at].seconds for c in own if c.test.at in by_test)))
    _count_tests(root)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_case(suite: ET.Element, case: PreparedTest, completed: CompletedTest | None) -> None:
    test = case.test
    seconds = _seconds_text(completed.seconds if completed else 0)
    names = {"classname": visible(test.function), "name": visible(test.label)}
    element = ET.SubElement(suite, "testcase", names, time=seconds)
    if completed is None:
        ET.SubElement(element, "skipped", message=_NOT_RUN)
        return
    if (problem := completed.problem) is not None:
        kind, type_ = ("failure", "result") if problem.reason is None else ("error", problem.reason)
        detail = ET.SubElement(element, kind, message=visible(problem.message), type=type_)
        detail.text = visible("\n".join([problem.message, *problem.details]), keep="\n")
    if completed.stderr:
        ET.SubElement(element, "system-err").text = visible(
            completed.stderr.decode(errors="backslashreplace"), keep="\n"
        )


def _count_tests(element: ET.Element) -> None:
    for attribute, path in (
        ("tests", ".//testcase"),
        ("failures", ".//failure"),
        ("errors", ".//error"),
        ("skipped", ".//skipped"),
    ):
        element.set(attribute, str(len(element.findall(path))))


def _seconds_text(seconds: float) -> str:
    return f"{seconds:.3f}"
