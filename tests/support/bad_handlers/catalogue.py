"""Handlers that behave badly, and the result that is expected of each."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SCRIPTS: Final = Path(__file__).parent
"""The folder of the scripts."""

HUGE_QUERY: Final = b'"%s"' % (b"q" * 32_000_000)
"""More than any pipe holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadHandler:
    """A handler, its function's options, and its answer: the exact `result`, or the required members of the `error`."""

    name: str
    command: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    query: bytes = b"null"
    result: bytes | None = None
    error: Mapping[str, object] = field(default_factory=dict)


def _script(file: str) -> tuple[str, ...]:
    path = str(SCRIPTS / file)
    return (sys.executable, "-S", "-E", path) if file.endswith(".py") else ("/bin/sh", path)


def _good(file: str, result: bytes = b"result", *, query: bytes = b"null") -> BadHandler:
    return BadHandler(name=Path(file).stem, command=_script(file), result=result, query=query)


def _failing(
    file: str, *, query: bytes = b"null", options: Mapping[str, object] | None = None, **error: object
) -> BadHandler:
    return BadHandler(name=Path(file).stem, command=_script(file), options=options or {}, query=query, error=error)


def _shell(name: str, script: str, **error: object) -> BadHandler:
    return BadHandler(name=name, command=("/bin/sh", "-c", script), error=error)


def _unstartable(name: str, command: str) -> BadHandler:
    return BadHandler(name=name, command=(command,), error={"reason": "not_started"})


_SHORT: Final = {"timeout": 1}

CATALOGUE: Final = (
    _failing("ignores_term.sh", options=_SHORT, reason="timeout"),
    _failing("ignores_term_in_other_group.sh", options=_SHORT, reason="timeout"),
    _failing("floods_stdout.sh", options={"max_output": "1MiB"}, reason="output_limit"),
    _failing("floods_stdout_stubbornly.sh", options={"max_output": 65535}, reason="output_limit"),
    _good("floods_stderr.sh"),
    _failing("floods_stderr_for_ever.sh", options=_SHORT, reason="timeout"),
    _good("one_long_stderr_line.sh"),
    _good("never_reads_stdin.sh", query=HUGE_QUERY),
    _failing("never_reads_stdin_and_hangs.sh", query=HUGE_QUERY, options=_SHORT, reason="timeout"),
    _good("closes_stdin.sh", query=HUGE_QUERY),
    _good("reads_a_part_of_stdin.sh", HUGE_QUERY[:10], query=HUGE_QUERY),
    _good("writes_before_it_reads.sh", bytes(10_000_000), query=HUGE_QUERY),
    _good("closes_stdout_early.sh"),
    _failing("closes_stdout_and_fails.sh", reason="exit", exitCode=9),
    _failing("closes_everything_and_hangs.sh", options=_SHORT, reason="timeout"),
    _good("leaves_child_on_stdout.sh"),
    _good("leaves_child_that_writes.sh"),
    _good("daemonizes.py"),
    _good("respawns_on_term.py"),
    _good("many_orphans.sh"),
    _failing("kills_its_group.sh", reason="signal", signal="SIGKILL"),
    _failing("stops_itself.sh", options=_SHORT, reason="timeout"),
    _failing("ends_well_on_term.sh", options=_SHORT, reason="timeout"),
    _failing("fails_with_stderr.sh", reason="exit", exitCode=3, stderr="the reason, for people\n"),
    _failing("writes_then_fails.sh", reason="exit", exitCode=255),
    _good("nul_and_invalid_utf8.sh", b"\x00\xff\xfe\r\n\x80 no line end"),
    _good("nothing.sh", b""),
    _shell("dies_by_segmentation_fault", "kill -SEGV $$", reason="signal", signal="SIGSEGV"),
    _shell("dies_by_kill", "kill -KILL $$", reason="signal", signal="SIGKILL"),
    _shell("dies_by_term", "kill -TERM $$", reason="signal", signal="SIGTERM"),
    _shell("runs_what_the_shell_cannot_find", "no-such-program", reason="exit", exitCode=127),
    _unstartable("not_found", "no-such-program"),
    _unstartable("not_found_by_path", "/no/such/program"),
    _unstartable("a_folder", "/usr"),
    _unstartable("not_executable", str(SCRIPTS / "not_executable")),
    _unstartable("bad_interpreter", str(SCRIPTS / "bad_interpreter")),
    _unstartable("exec_format_error", str(SCRIPTS / "exec_format_error")),
)
