# ruff: noqa: INP001 - a script, not a package
"""The whole story on one machine: a runtime, a worker, handlers in several languages, failures, a drain.

Says what it does as it does it, and ends with status 1 when anything is not as told.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cm_exec.dev import LocalRuntime

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
SLOTS: Final = 4
DEADLINE: Final = 60.0
"""The longest wait for anything, in seconds; far more than is needed."""

BAD_DAYS: Final = f"""
[functions]
verbatim = "cat"
fail = "echo 'no such customer: 4711' >&2; exit 3"
crash = "kill -SEGV $$"
meet = "touch seat-$CM_JOB_ID; until [ $(ls seat-* | wc -l) -ge {SLOTS} ]; do sleep 0.05; done; cat"
slow = "touch slow-has-begun; sleep 2; cat"

[functions.hang]
command = "sleep 600"
timeout = 1

[functions.flood]
command = ["yes"]
max_output = "1MiB"
"""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A folder of examples/. `probes` are commands that succeed where its language is installed."""

    folder: str
    probes: Sequence[Sequence[str]]

    @property
    def table(self) -> tuple[str, dict[str, Any]]:
        """The function's name, and its options from cm.toml."""
        functions = tomllib.loads((EXAMPLES / self.folder / "cm.toml").read_text())["functions"]
        ((name, options),) = functions.items()
        return name, options if isinstance(options, dict) else {"command": options}

    @property
    def missing(self) -> list[str]:
        """The probes that fail on this machine."""
        return [probe[0] for probe in self.probes if not succeeds(probe)]


LANGUAGES: Final = (
    Example(folder="python", probes=[("python3", "--version")]),
    Example(folder="shell-jq", probes=[("jq", "--version")]),
    Example(folder="node", probes=[("node", "--version")]),
    Example(folder="perl", probes=[("perl", "-MJSON::PP", "-e", "1")]),
    Example(folder="c", probes=[("cc", "--version")]),
    Example(folder="java", probes=[("java", "-version"), ("javac", "-version")]),
    Example(folder="imagemagick", probes=[("jq", "--version"), ("convert", "-version")]),
)


def succeeds(command: Sequence[str]) -> bool:
    """Whether the command can be run, with exit status 0."""
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


@dataclass
class Narration:
    """What the audience sees. `failures` is what was not as told."""

    colour: bool
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def scene(self, text: str) -> None:
        """A heading."""
        self._print(f"\n{self._paint('1', text)}")

    def say(self, text: str) -> None:
        """A plain line."""
        self._print(f"  {text}")

    def quote(self, text: str, margin: str = "    ") -> None:
        """Something that is shown as it is: a file, a log line."""
        for line in text.strip("\n").split("\n"):
            self._print(self._paint("2", f"{margin}{line}"))

    def check(self, promise: str, kept: object) -> None:
        """A promise, and whether it was kept."""
        if not kept:
            self.failures.append(promise)
        self._print(f"  {self._paint('32', 'ok') if kept else self._paint('31', 'NOT SO')}  {promise}")

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def _print(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """All that a scene needs. `folder` holds cm.toml and the handlers."""

    folder: Path
    runtime: LocalRuntime
    worker: "subprocess.Popen[str]"
    tell: Narration

    def call(self, function: str, query: bytes) -> bytes:
        """Call the function as Foundry would, and show the query and the result."""
        self.tell.say(f"{function}  <- {shown(query)}")
        begun = time.monotonic()
        body = bytes(self.runtime.submit(function, query).wait(DEADLINE).body)
        self.tell.say(f"{' ' * len(function)}  -> {shown(body)}   {(time.monotonic() - begun) * 1000:.0f} ms")
        return body


def shown(body: bytes, width: int = 100) -> str:
    """A query or a result on one line."""
    if body.startswith(b"\x89PNG"):
        return f"a PNG image, {int.from_bytes(body[16:20])} x {int.from_bytes(body[20:24])}, {len(body)} bytes"
    text = " ".join(body.decode(errors="replace").split())
    return text if len(text) <= width else f"{text[: width - 3]}..."


def lay_out(folder: Path, examples: Sequence[Example]) -> None:
    """Copy the examples' handlers and make one cm.toml of theirs."""
    tables = []
    for example in examples:
        shutil.copytree(EXAMPLES / example.folder, folder / example.folder)
        name, options = example.table
        tables.append(toml_table(name, {**options, "cwd": example.folder}))
    (folder / "cm.toml").write_text("\n".join(tables) + BAD_DAYS)
    if (folder / "c").exists():
        subprocess.run(["./build"], cwd=folder / "c", check=True)


def toml_table(name: str, options: dict[str, Any]) -> str:
    """A function's table as TOML. JSON's strings, numbers and arrays are TOML's."""
    lines = [f"[functions.{name}]"]
    for key, value in options.items():
        members = ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) if isinstance(value, dict) else ""
        lines.append(f"{key} = {{ {members} }}" if members else f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


@contextmanager
def worker_process(folder: Path, environment: dict[str, str], tell: Narration) -> Iterator["subprocess.Popen[str]"]:
    """`cm-exec run`, as a container would start it, with its log shown."""
    with subprocess.Popen(
        [Path(sys.executable).with_name("cm-exec"), "run", "--config", folder / "cm.toml"],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as worker:
        log = threading.Thread(target=show_log, args=(worker, tell))
        log.start()
        try:
            yield worker
        finally:
            worker.terminate()
            try:
                worker.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                worker.kill()
            log.join(DEADLINE)


def show_log(worker: "subprocess.Popen[str]", tell: Narration) -> None:
    """Relay the worker's log."""
    for line in worker.stdout or ():
        tell.quote(line, margin="      worker | ")


def languages(stage: Stage, examples: Sequence[Example]) -> None:
    """Each example's query gives its result."""
    stage.tell.scene("One query for each language")
    for example in examples:
        folder = EXAMPLES / example.folder
        name, _ = example.table
        body = stage.call(name, (folder / "query.json").read_bytes())
        expected = json.loads((folder / "result.json").read_bytes())
        stage.tell.check(f"{example.folder}: the result is that of result.json", is_result(body, expected))


def is_result(body: bytes, expected: Any) -> bool:
    """Whether the result is the expected JSON or, for the image, has the expected size."""
    if body.startswith(b"\x89PNG"):
        size = (int.from_bytes(body[16:20]), int.from_bytes(body[20:24]))
        return size == (expected["width"], expected["height"])
    try:
        return bool(json.loads(body) == expected)
    except ValueError:
        return False


def verbatim(stage: Stage) -> None:
    """No number or string is re-written on the way."""
    stage.tell.scene("Byte for byte")
    query = rb'{"b":1.10,"a":123456789012345678901234567890,"e":1E400,"u":"\u00e9\/","d":1,"d":2,"z":[ ]}'
    stage.tell.check("what a JSON parser would change comes back as it was", stage.call("verbatim", query) == query)


def at_once(stage: Stage) -> None:
    """MAX_CONCURRENT_TASKS jobs run side by side."""
    stage.tell.scene(f"{SLOTS} jobs at once")
    stage.tell.say(f"Each waits until it sees all {SLOTS}; one after another they would wait for ever.")
    calls = [stage.runtime.submit("meet", str(number).encode()) for number in range(SLOTS)]
    answers = [bytes(call.wait(DEADLINE).body) for call in calls]
    stage.tell.check("each caller got its own answer", answers == [str(n).encode() for n in range(SLOTS)])


def failures(stage: Stage) -> None:
    """What goes wrong is told to the caller; no job stays without an answer."""
    stage.tell.scene("Bad days: whatever happens, the caller gets an answer")
    for function, reason in (
        ("fail", "exit"),
        ("crash", "signal"),
        ("hang", "timeout"),
        ("flood", "output_limit"),
        ("no_such_function", "unknown_function"),
    ):
        body = stage.call(function, b'{"customer": 4711}')
        stage.tell.check(f"{function}: an error result, reason {reason}", error_reason(body) == reason)


def error_reason(body: bytes) -> object:
    """The reason in an error result, None where it is something else."""
    try:
        result = json.loads(body)
    except ValueError:
        return None
    return result.get("reason") if isinstance(result, dict) else None


def drain(stage: Stage) -> None:
    """SIGTERM while a job runs: the job is answered, then the worker ends."""
    stage.tell.scene("The replica is shut down while a job runs")
    call = stage.runtime.submit("slow", b'"finish me"')
    begun = wait_for_file(stage.folder / "slow-has-begun")
    stage.tell.check("the slow job has begun", begun)
    stage.tell.say("SIGTERM")
    stage.worker.send_signal(signal.SIGTERM)
    stage.tell.check("the job was answered all the same", bytes(call.wait(DEADLINE).body) == b'"finish me"')
    stage.tell.check("the worker ended with status 0", stage.worker.wait(DEADLINE) == 0)


def wait_for_file(path: Path) -> bool:
    """Whether the file is there before the deadline."""
    until = time.monotonic() + DEADLINE
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def play(folder: Path, tell: Narration) -> None:
    """The scenes in their order."""
    tell.scene("The functions")
    present = [example for example in LANGUAGES if not example.missing]
    for example in LANGUAGES:
        if example.missing:
            tell.say(f"left out: {example.folder} (not on this machine: {', '.join(example.missing)})")
    lay_out(folder, present)
    tell.say("cm.toml, made of the examples' own and some that misbehave:")
    tell.quote((folder / "cm.toml").read_text())

    with LocalRuntime(folder / "runtime", max_concurrent_tasks=SLOTS) as runtime:
        tell.scene("The runtime and the worker")
        environment = runtime.environment()
        tell.say(f"A local runtime: {environment['GET_JOB_URI']}, with its own CA and token")
        tell.say(f"A worker, as a container would start it: cm-exec run, MAX_CONCURRENT_TASKS={SLOTS}")
        with worker_process(folder, environment, tell) as worker:
            stage = Stage(folder=folder, runtime=runtime, worker=worker, tell=tell)
            languages(stage, present)
            verbatim(stage)
            at_once(stage)
            failures(stage)
            drain(stage)


def main() -> int:
    """Play, and say how it went."""
    tell = Narration(colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    with tempfile.TemporaryDirectory(prefix="cm-exec-demo-") as folder:
        play(Path(folder), tell)
    if tell.failures:
        tell.scene(f"Not as told: {'; '.join(tell.failures)}")
        return 1
    tell.scene("All as told.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
