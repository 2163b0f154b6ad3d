"""The scenes of the demo, in their order."""

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import Call
from scripts.demo.functions import EXAMPLES, SLOTS, Example
from scripts.demo.narration import Narration, shown
from scripts.demo.worker import DEADLINE, WorkerGoneError, WorkerLog


@dataclass(frozen=True, kw_only=True)
class Stage:
    """All that a scene needs. `folder` holds cm.toml and the handlers."""

    folder: Path
    runtime: LocalRuntime
    worker: subprocess.Popen[str]
    log: WorkerLog
    narration: Narration

    def wait_for_poll(self) -> None:
        """Return when the worker asks for jobs. Raises WorkerGoneError, TimeoutError."""
        until = time.monotonic() + DEADLINE
        while not self.runtime.open_polls:
            self._look_after_worker(until)
            time.sleep(0.02)

    def call(self, function: str, query: bytes) -> bytes:
        """Call the function as Foundry would, and show the query and the result."""
        self.narration.say(f"{function}  <- {shown(query)}")
        begun = time.monotonic()
        call = self.runtime.submit(function, query)
        body = self.answer(call)
        milliseconds = (time.monotonic() - begun) * 1000
        self.log.wait_for_end_of(call.job_id)
        self.narration.say(f"{' ' * len(function)}  -> {shown(body)}   {milliseconds:.0f} ms")
        return body

    def answer(self, call: Call) -> bytes:
        """Wait for the result and return it.

        Raises WorkerGoneError if the worker has ended, TimeoutError after DEADLINE seconds.
        """
        until = time.monotonic() + DEADLINE
        while True:
            try:
                return call.wait(0.2).body
            except TimeoutError:
                self._look_after_worker(until)

    def _look_after_worker(self, until: float) -> None:
        status = self.worker.poll()
        if status is not None:
            raise WorkerGoneError(f"the worker ended with status {status}")
        if time.monotonic() > until:
            raise TimeoutError(f"nothing happened for {DEADLINE:g} s")


def languages(stage: Stage, examples: Sequence[Example]) -> None:
    """Check that the query of each example gives its result."""
    stage.narration.scene("One query for each language")
    for example in examples:
        folder = EXAMPLES / example.folder
        name, _ = example.table
        body = stage.call(name, (folder / "query.json").read_bytes())
        expected = json.loads((folder / "result.json").read_bytes())
        stage.narration.check(f"{example.folder}: the result is that of result.json", is_result(body, expected))


def is_result(body: bytes, expected: Any) -> bool:
    """Return whether the result is the expected JSON or, for the image, has the expected size."""
    if body.startswith(b"\x89PNG"):
        size = (int.from_bytes(body[16:20]), int.from_bytes(body[20:24]))
        return size == (expected["width"], expected["height"])
    try:
        return bool(json.loads(body) == expected)
    except ValueError:
        return False


def verbatim(stage: Stage) -> None:
    """Check that no number or string is rewritten on the way."""
    stage.narration.scene("Byte for byte")
    query = rb'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\u00e9\/","d":1,"d":2,"z":[ ]}'
    stage.narration.check(
        "what a JSON parser would change comes back as it was", stage.call("verbatim", query) == query
    )


def at_once(stage: Stage) -> None:
    """Check that MAX_CONCURRENT_TASKS jobs run concurrently."""
    stage.narration.scene(f"{SLOTS} concurrent jobs")
    stage.narration.say(f"Each waits until it sees all {SLOTS}; one after another they would wait for ever.")
    calls = [stage.runtime.submit("meet", str(number).encode()) for number in range(SLOTS)]
    answers = [stage.answer(call) for call in calls]
    for call in calls:
        stage.log.wait_for_end_of(call.job_id)
    stage.narration.check("each caller got its own answer", answers == [str(n).encode() for n in range(SLOTS)])


def failures(stage: Stage) -> None:
    """Check that each failure is reported to the caller; no job stays without an answer."""
    stage.narration.scene("Failures: the caller always gets an answer")
    for function, reason in (
        ("fail", "exit"),
        ("crash", "signal"),
        ("hang", "timeout"),
        ("flood", "output_limit"),
        ("no_such_function", "unknown_function"),
    ):
        body = stage.call(function, b'{"customer": 4711}')
        if function == "fail":
            stage.narration.say("in full:")
            stage.narration.quote(json.dumps(json.loads(body), indent=2))
        stage.narration.check(f"{function}: an error result, reason {reason}", error_reason(body) == reason)


def error_reason(body: bytes) -> object:
    """Return the reason in an error result, None for another result."""
    try:
        result = json.loads(body)
    except ValueError:
        return None
    return result.get("reason") if isinstance(result, dict) else None


def drain(stage: Stage) -> None:
    """Send SIGTERM while a job runs: the job is answered, then the worker ends."""
    stage.narration.scene("The replica is shut down while a job runs")
    call = stage.runtime.submit("slow", b'"finish me"')
    begun = wait_for_file(stage.folder / "slow-has-begun")
    stage.narration.check("the slow job has started", begun)
    stage.narration.say("SIGTERM")
    stage.worker.send_signal(signal.SIGTERM)
    stage.narration.check("the job was still answered", stage.answer(call) == b'"finish me"')
    stage.narration.say("The worker waits for its open poll: a job may come with it.")
    stage.narration.check("the worker ended with status 0", stage.worker.wait(DEADLINE) == 0)
    stage.narration.check(
        "the runtime saw each job answered once, and no protocol violation", not stage.runtime.violations
    )


def wait_for_file(path: Path) -> bool:
    """Return whether the file exists before the deadline."""
    until = time.monotonic() + DEADLINE
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
