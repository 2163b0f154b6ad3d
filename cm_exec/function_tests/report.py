"""What a run looks like to people: a line a test as it ends, what is wrong with it, and a summary."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cm_exec.cli.terminal import BOLD, CYAN, DIM, GREEN, RED, Terminal
from cm_exec.cli.words import count_text, duration_text
from cm_exec.function_tests.case import Case
from cm_exec.function_tests.excerpt import visible
from cm_exec.function_tests.runner import Ran

_MARKS: Final = {True: ("✓", "✗"), False: ("ok  ", "FAIL")}
_MOST_STDERR: Final = 20
"""Lines."""

_LONGEST_STDERR: Final = 200
_LONGEST_QUERY: Final = 2000
"""Characters of a command line that is still copied."""

_FEW: Final = 20
"""Tests whose failures are still seen without a list of them."""

_COLOURS: Final = {"-": RED, "+": GREEN}


class Report:
    """Writes to stdout. `config_path` is how the user called cm.toml."""

    def __init__(self, config_path: Path) -> None:
        self._config_path = config_path
        self._terminal = Terminal()
        self._encoding = (sys.stdout.encoding if sys.stdout else None) or "utf-8"
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._passed, self._failed = _MARKS[is_terminal and self._can_write("✓✗")]

    def ended(self, ran: Ran) -> None:
        """Tell of a test that has ended."""
        title, took = ran.case.test.title, self._styled(f"({duration_text(ran.seconds)})", DIM)
        if ran.complaint is None:
            self._write(f"{self._styled(self._passed, GREEN)} {visible(title)} {took}")
            return
        head = f"{self._styled(self._failed, RED)} {self._styled(visible(title), BOLD)} {took}"
        self._write("\n".join([head, *(f"    {line}".rstrip() for line in self._failure(ran))]))

    def _failure(self, ran: Ran) -> Iterator[str]:
        complaint = ran.complaint
        assert complaint is not None  # noqa: S101 - the caller has looked
        reason = f" ({complaint.reason})" if complaint.reason else ""
        yield visible(complaint.message) + reason
        yield from (self._styled(f"  {visible(line)}", _COLOURS.get(line[:1], "")) for line in complaint.details)
        if ran.stderr.strip():
            yield "stderr:"
            yield from (self._styled(f"  | {line}", DIM) for line in _end_of(ran.stderr))
        yield f"again: {self._styled(visible(again(ran.case, self._config_path)), CYAN)}"

    def summary(self, cases: Sequence[Case], ran: Sequence[Ran], *, seconds: float, interrupted: bool) -> None:
        """Tell how all went."""
        failed = [one for one in ran if one.complaint is not None]
        if len(ran) > _FEW:
            for one in sorted(failed, key=lambda one: cases.index(one.case)):
                self._write(f"{self._styled(self._failed, RED)} {visible(one.case.test.title)}")
        counts = [
            self._styled(f"{len(failed)} failed", RED) if failed else "",
            self._styled(f"{len(ran) - len(failed)} passed", GREEN) if len(ran) > len(failed) else "",
            f"{len(cases) - len(ran)} not run" if len(cases) > len(ran) else "",
        ]
        interruption = "interrupted: " if interrupted else ""
        tests = count_text(len(cases), "test")
        self._write(f"\n{interruption}{tests}: {', '.join(filter(None, counts))}, in {duration_text(seconds)}")

    def _styled(self, text: str, style: str) -> str:
        return self._terminal.styled(text, style)

    def _write(self, text: str) -> None:
        """What the terminal has no characters for is written as escapes."""
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


def again(case: Case, config_path: Path) -> str:
    """The command line that runs the query once more and shows all of the result."""
    test = case.test
    command = ["cm-exec", "invoke", *(() if config_path == Path("cm.toml") else ("--config", str(config_path)))]
    if isinstance(test.query, Path):
        command += ["--query-file", _relative(test.query, config_path)]
        return shlex.join([*command, *_arguments(test.function)])
    query = case.query.decode()
    if len(query) > _LONGEST_QUERY or "\0" in query:
        config = command[2:]
        return shlex.join(["cm-exec", "test", *config, *_arguments(test.title)])
    return shlex.join([*command, *_arguments(test.function, query)])


def _arguments(*arguments: str) -> list[str]:
    """Positional arguments, none of which is taken for an option."""
    return ["--", *arguments] if any(argument.startswith("-") for argument in arguments) else list(arguments)


def _relative(path: Path, config_path: Path) -> str:
    """The file as it is called from here."""
    folder = config_path.parent
    try:
        return str(folder / path.relative_to(folder.absolute()))
    except ValueError:
        return str(path)
