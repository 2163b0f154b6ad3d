"""Run `cm-exec dev` as a user does: a process in a folder with a cm.toml."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Final

from tests.support.processes import wait_until

CM_EXEC: Final = str(Path(sys.executable).with_name("cm-exec"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response of the callers' port."""

    status: int
    body: bytes
    headers: Message

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevProgram:
    """A running `cm-exec dev` in `folder`; its output goes to a file."""

    process: subprocess.Popen[bytes]
    folder: Path
    output_file: Path

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    @property
    def console_url(self) -> str:
        """The console's address, with the token."""
        return self._printed(r"(http://127\.0\.0\.1:\d+/\?token=\S+)")

    @property
    def url(self) -> str:
        return self.console_url.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.console_url.partition("?token=")[2]

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.output)
        assert found, self.output
        return found[1]

    def wait_for_output(self, text: str, *, times: int = 1) -> None:
        """Wait until it has printed `text` that many times. Raises AssertionError if it ends before."""
        wait_until(
            lambda: self.output.count(text) >= times or self.process.poll() is not None,
            what=f"{text!r} in the output:\n{self.output}",
            seconds=30,
        )
        assert self.output.count(text) >= times, f"no {text!r} in:\n{self.output}"

    def request(self, path: str, body: bytes | None = None, **options: Any) -> Answer:
        """Send GET, or POST with a body, with the token, as curl does."""
        options["headers"] = {"Authorization": f"Bearer {self.token}", **options.get("headers", {})}
        request = urllib.request.Request(self.url + path, data=body, **options)  # noqa: S310 - its own address
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
                return Answer(status=response.status, body=response.read(), headers=response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, body=error.read(), headers=error.headers)

    def call(self, function: str, query: bytes = b"{}") -> bytes:
        """Call a function and return its result."""
        answer = self.request(f"/functions/{function}", query)
        assert answer.status == 200, answer
        return answer.body

    @property
    def state(self) -> Any:
        return self.request("/state").json

    def wait_until_ready(self) -> None:
        """Wait until the worker polls."""
        self.wait_for_output("console")
        wait_until(lambda: self.state["worker"]["openPolls"], what="a poll")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run another cm-exec command, as from another terminal in the same folder."""
        return run_cm_exec(self.folder, *arguments, stdin=stdin)


def run_cm_exec(
    folder: Path, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a cm-exec command to its end, as a user who has no more `cm-exec dev` than those of the folder."""
    return subprocess.run(
        [CM_EXEC, *arguments],
        cwd=folder,
        env={**dev_environment(folder), **(variables or {})},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


def dev_environment(folder: Path) -> dict[str, str]:
    """Return an environment that only the programs of this test share."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(folder), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def started_dev(folder: Path, *arguments: str, port: int | None = 0) -> Iterator[DevProgram]:
    """Start `cm-exec dev`, by default on any free port, and end it when the context ends."""
    output_file = folder / "dev.output"
    port_arguments = [] if port is None else ["--port", str(port), "--runtime-port", "0"]
    with output_file.open("wb") as output:
        process = subprocess.Popen(
            [CM_EXEC, "dev", *port_arguments, *arguments],
            cwd=folder,
            env=dev_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    program = DevProgram(process=process, folder=folder, output_file=output_file)
    try:
        yield program
    finally:
        _end(process)
        print(f"--- cm-exec dev (exit {process.returncode})\n{program.output[-6000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
