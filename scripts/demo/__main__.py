"""Run an end-to-end demo: runtime, worker, handlers in several languages, failures, graceful shutdown.

It says what it does, checks it, and ends with status 1 if a check fails.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from cm_exec.local_runtime import LocalRuntime
from cm_exec.local_runtime.call import NoResultError
from scripts.demo import scenes
from scripts.demo.functions import LANGUAGES, SLOTS, lay_out
from scripts.demo.narration import Narration
from scripts.demo.worker import WorkerGoneError, WorkerLog, worker_process


def play(folder: Path, narration: Narration) -> None:
    """Play the scenes in their order."""
    narration.scene("The functions")
    present = [example for example in LANGUAGES if not example.missing]
    for example in LANGUAGES:
        if example.missing:
            narration.say(f"skipped: {example.folder} (not installed: {', '.join(example.missing)})")
    lay_out(folder, present)
    narration.say("cm.toml, assembled from the examples plus some functions that misbehave:")
    narration.quote((folder / "cm.toml").read_text())

    with LocalRuntime(folder / "runtime", max_concurrent_tasks=SLOTS) as runtime:
        narration.scene("The runtime and the worker")
        environment = runtime.environment()
        narration.say(f"A local runtime: {environment['GET_JOB_URI']}, with its own CA and token")
        narration.say(f"A worker, as a container would start it: cm-exec run, MAX_CONCURRENT_TASKS={SLOTS}")
        log = WorkerLog(narration=narration)
        with worker_process(folder, environment, log) as worker:
            stage = scenes.Stage(folder=folder, runtime=runtime, worker=worker, log=log, narration=narration)
            stage.wait_for_poll()
            scenes.languages(stage, present)
            scenes.verbatim(stage)
            scenes.at_once(stage)
            scenes.failures(stage)
            scenes.drain(stage)


def main() -> int:
    """Play the demo and return the exit status."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    narration = Narration(colour=colour, width=max(120, shutil.get_terminal_size((160, 0)).columns))
    with tempfile.TemporaryDirectory(prefix="cm-exec-demo-") as folder:
        try:
            play(Path(folder), narration)
        except (WorkerGoneError, TimeoutError, NoResultError) as error:
            narration.check(f"the demo ran to its end ({error})", False)
    if narration.failures:
        narration.scene(f"Failed: {'; '.join(narration.failures)}")
        return 1
    narration.scene("Everything passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
