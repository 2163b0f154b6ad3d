import json
import signal

import pytest

from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ECHO = function("echo", ["cat"])


def test_stdout_is_exactly_what_would_be_posted(harness: WorkerHarness) -> None:
    harness.folder.joinpath("output").write_bytes(b"\0\xff no line end")
    harness.write(function("f", "cat output"))
    done = harness.cm_exec("invoke", "f", "null")
    assert (done.returncode, done.stdout) == (0, b"\0\xff no line end")


def test_output_text(harness: WorkerHarness) -> None:
    """Output "text" becomes a JSON string, without one final newline."""
    harness.write(function("f", "printf 'hi\\n\\n'", output="text"))
    assert harness.cm_exec("invoke", "f", "null").stdout == b'"hi\\n"'


def test_the_query_may_be_the_argument(harness: WorkerHarness) -> None:
    harness.write(ECHO)
    assert harness.cm_exec("invoke", "echo", '{"a": 1.10}').stdout == b'{"a": 1.10}'


@pytest.mark.parametrize("query", ["-5", "-0.25", "-1e3"])
def test_a_negative_number_is_a_query(harness: WorkerHarness, query: str) -> None:
    harness.write(ECHO)
    for arguments in (["echo", query], ["echo", query, "--user-id", "-7"], ["echo", "--", query]):
        done = harness.cm_exec("invoke", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, query.encode(), b"")


def test_the_name_of_a_file_is_no_query(harness: WorkerHarness) -> None:
    harness.write(ECHO)
    harness.folder.joinpath("my query.json").write_text("1")
    done = harness.cm_exec("invoke", "echo", "my query.json")
    assert done.returncode == 2
    assert (
        b"'my query.json' is the name of a file, not JSON; to send its content: --query-file 'my query.json'"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("query", "warning"),
    [
        ("", "the query is empty (the runtime only sends JSON, such as {} or null)"),
        (" \n", "the query is empty"),
        ("hello there", "for a text write '\"hello there\"'"),
        ("{", "the query is not valid JSON"),
    ],
)
def test_a_query_that_the_runtime_would_not_send(harness: WorkerHarness, query: str, warning: str) -> None:
    harness.write(ECHO)
    for done in (harness.cm_exec("invoke", "echo", query), harness.cm_exec("invoke", "echo", stdin=query.encode())):
        assert (done.returncode, done.stdout) == (0, query.encode())
        assert done.stderr.decode().startswith("cm-exec: warning: ")
        assert warning in done.stderr.decode()
        assert len(done.stderr.splitlines()) == 1


def test_the_query_may_come_from_a_file(harness: WorkerHarness) -> None:
    harness.write(ECHO)
    harness.folder.joinpath("query.json").write_bytes(b'{"a": 1.10 }\n')
    assert harness.cm_exec("invoke", "echo", "--query-file", "query.json").stdout.rstrip(b"\n") == b'{"a": 1.10 }'


def test_the_query_may_come_on_stdin(harness: WorkerHarness) -> None:
    harness.write(ECHO)
    query = b'{"data": "%s"}' % (b"x" * 5_000_000)
    assert harness.cm_exec("invoke", "echo", stdin=query).stdout == query


def test_stderr_of_the_handler_passes_through(harness: WorkerHarness) -> None:
    harness.write(function("f", "echo 'seen by the author' >&2; printf ok"))
    done = harness.cm_exec("invoke", "f", "null")
    assert done.stdout == b"ok"
    assert b"seen by the author\n" in done.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
        ("sleep 300", 124),
    ],
)
def test_exit_status(harness: WorkerHarness, command: str, status: int) -> None:
    """The exit status is the handler's, as in a shell."""
    harness.write(function("f", command, timeout=1))
    done = harness.cm_exec("invoke", "f", "null")
    assert done.returncode == status
    assert b"Traceback" not in done.stderr


def test_failed_start(harness: WorkerHarness) -> None:
    """The exit status is 127 for a missing program, and 126 for one that cannot be run."""
    harness.folder.joinpath("plain").write_text("#!/bin/sh\n")
    harness.write(function("lost", ["no-such-program"]) + function("plain", ["./plain"]))
    assert harness.cm_exec("invoke", "lost", "null").returncode == 127
    assert harness.cm_exec("invoke", "plain", "null").returncode == 126


def test_the_error_result_is_what_would_be_posted(harness: WorkerHarness) -> None:
    harness.write(function("f", "printf half; echo why >&2; exit 3"))
    done = harness.cm_exec("invoke", "f", "null")
    error = json.loads(done.stdout)
    assert (error["reason"], error["exitCode"], error["stderr"], error["queryType"]) == ("exit", 3, "why\n", "f")


def test_output_over_the_limit_is_a_failure(harness: WorkerHarness) -> None:
    harness.write(function("f", "printf 12345", max_output=4))
    done = harness.cm_exec("invoke", "f", "null")
    assert done.returncode != 0
    assert json.loads(done.stdout)["reason"] == "output_limit"


def test_unknown_function(harness: WorkerHarness) -> None:
    """The error for an unknown function has the closest name."""
    harness.write(function("thumbnail", ["cat"]))
    done = harness.cm_exec("invoke", "tumbnail", "null")
    assert done.returncode == 2
    assert b"thumbnail" in done.stderr
    assert b"Traceback" not in done.stderr


def test_nothing_of_a_handler_outlives_the_call(harness: WorkerHarness) -> None:
    harness.write(function("f", "setsid sleep 300 >/dev/null 2>&1 & printf done"))
    assert harness.cm_exec("invoke", "f", "null").stdout == b"done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_call_ends_its_handler(harness: WorkerHarness, number: signal.Signals) -> None:
    harness.write(function("f", "touch started; exec sleep 300"))
    done = harness.interrupt("invoke", "f", "null", number=number)
    assert (done.returncode, done.stdout) == (128 + number, b"")
    assert done.stderr == f"\ncm-exec: {number.name} received; 'f' was ended\n".encode()


def test_environment(harness: WorkerHarness) -> None:
    """A handler has the same environment as in the worker."""
    harness.write(function("f", 'echo "$CM_QUERY_TYPE $ADDED"; test -n "$CM_JOB_ID"', env={"ADDED": "1"}))
    done = harness.cm_exec("invoke", "f", "null")
    assert (done.returncode, done.stdout) == (0, b"f 1\n")


def test_connection_variables(harness: WorkerHarness) -> None:
    """A handler does not get the variables of a connection to a runtime."""
    harness.write(function("f", "cat /proc/self/environ"))
    done = harness.cm_exec("invoke", "f", "null", environment=harness.replica.modern())
    assert b"GET_JOB_URI" not in done.stdout
    assert harness.runtime.request_log.connections == 0
