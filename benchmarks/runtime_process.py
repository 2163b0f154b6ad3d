"""The client of the runtime process: start it, put load on a lane, read the measurement."""

import contextlib
import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme

from benchmarks.payload import Payload
from benchmarks.processes import cpu_seconds

ROOT: Final = Path(__file__).resolve().parent.parent
STALL: Final = 180.0
"""Seconds after which a load that is still not complete has lost a job."""


class BenchmarkError(Exception):
    """Raised when a measurement is impossible; the message is for the person who runs the benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The outcome of a load. Times in seconds; `latencies` are sorted; `runtime_cpu` is the runtime's own."""

    latencies: tuple[float, ...]
    elapsed: float
    wrong: int
    runtime_cpu: float

    @property
    def jobs_per_second(self) -> float:
        return len(self.latencies) / self.elapsed


class RuntimeProcess:
    """A running runtime, which serves one worker per lane."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._unread = bytearray()
        self._port = int(self._receive("port", 20)["port"])

    def environment(self, lane: str, concurrency: int) -> dict[str, str]:
        """Return the platform's variables for a worker on this lane."""
        base = f"https://localhost:{self._port}/{lane}"
        return {
            "GET_JOB_URI": f"{base}/job",
            "POST_RESULT_URI": f"{base}/results",
            "POST_SCHEMA_URI": f"{base}/schemas",
            "RESTART_NOTIFICATION_URI": f"{base}/restart-notify",
            "RUNTIME_HOST": "localhost",
            "RUNTIME_PORT": str(self._port),
            "RUNTIME_API": f"localhost:{self._port}",
            "MODULE_AUTH_TOKEN": str(self._folder / "token"),
            "DEFAULT_CA_PATH": str(self._folder / "ca.pem"),
            "CONNECTIONS_TO_OTHER_PODS_CA_PATH": str(self._folder / "ca.pem"),
            "MAX_CONCURRENT_TASKS": str(concurrency),
        }

    @property
    def cpu(self) -> float:
        """The CPU time of the runtime since its start, in seconds."""
        return cpu_seconds(self._process.pid)

    def open(self, lane: str) -> None:
        """Serve a new lane."""
        self._send({"do": "open", "lane": lane})

    def close(self, lane: str) -> None:
        """Answer the polls of a lane and remove it."""
        self._send({"do": "close", "lane": lane})

    def first_poll(self, lane: str, within: float, alive: Callable[[], bool]) -> float:
        """Wait for the first poll on the lane and return its `time.monotonic`."""
        message = self._receive("first_poll", within, alive)
        if message["first_poll"] != lane:
            raise BenchmarkError(f"lane {message['first_poll']} polled, not {lane}")
        return float(message["at"]) / 1e9

    def load(
        self,
        lane: str,
        payload: Payload,
        alive: Callable[[], bool],
        *,
        in_progress: int,
        warmup: int,
        min_jobs: int,
        seconds: float,
        pause: float = 0.0,
    ) -> Measurement:
        """Put a load on the lane and wait for all answers. Raises BenchmarkError if the worker ends or loses a job."""
        load = {"in_progress": in_progress, "warmup": warmup, "min_jobs": min_jobs, "seconds": seconds, "pause": pause}
        shape = {"size": payload.size, "kind": payload.kind}
        self._send({"do": "load", "lane": lane, "payload": shape, "load": load})
        measured = self._receive("measured", seconds + STALL, alive)["measured"]
        return Measurement(
            latencies=tuple(sorted(ns / 1e9 for ns in measured["latencies"])),
            elapsed=(measured["ended"] - measured["started"]) / 1e9,
            wrong=measured["wrong"],
            runtime_cpu=measured["cpu"] / 1e9,
        )

    def stop(self) -> None:
        """Stop the runtime by closing its stdin."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        self._process.wait(10)

    def _send(self, order: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()

    def _receive(self, kind: str, within: float, alive: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """Return the next message of this kind and skip others, such as a late first poll."""
        deadline = time.monotonic() + within
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if not newline:
                self._read(kind, deadline, alive)
                continue
            self._unread = rest
            message: dict[str, Any] = json.loads(line)
            if kind in message:
                return message

    def _read(self, kind: str, deadline: float, alive: Callable[[], bool]) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while not select.select([stdout], [], [], 0.25)[0]:
            if not alive():
                raise BenchmarkError("the worker ended")
            if time.monotonic() >= deadline:
                raise BenchmarkError("the worker did not poll" if kind == "first_poll" else "a job was not answered")
        data = os.read(stdout.fileno(), 1 << 20)
        if not data:
            raise BenchmarkError("the benchmark's runtime ended")
        self._unread += data


@contextlib.contextmanager
def runtime(folder: Path) -> Iterator[RuntimeProcess]:
    """Run a runtime with its own CA and token in `folder` until the end of the block."""
    authority = trustme.CA()
    certificate = folder / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    token = secrets.token_hex(32)
    (folder / "token").write_text(token)
    command = [sys.executable, "-m", "benchmarks.runtime", str(certificate), token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        served = RuntimeProcess(process, folder)
        try:
            yield served
        finally:
            served.stop()
