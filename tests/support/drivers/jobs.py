"""A program that runs jobs as cm-exec does, supervised, and tells what is left of them; for tests of processes.

It is started with the path of a JSON file: `config` (a cm.toml), `jobs` (each `id`, `function`, `query`, all at once
or one after another as `at_once` says), and what to take away: `without` "pidfds", "children" (the kernel's list of
them), "subreaper". It prints a JSON line for each job that is over, for each signal, and one at the end.
"""

import base64
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cm_exec.cli.supervision import EndAtOnce, supervise
from cm_exec.handlers.handler import Handler, Result, Surroundings
from cm_exec.handlers.modes import create_handlers
from cm_exec.handlers.stop import StopNow

from cm_exec.cli import supervision
from cm_exec.config import parse_config
from cm_exec.handlers import orphans
from cm_exec.handlers.environment import launcher_environment
from cm_exec.protocol.failure import Failure
from cm_exec.protocol.job import Job

_lock = threading.Lock()


def tell(**members: object) -> None:
    with _lock:
        print(json.dumps(members), flush=True)


def fail(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def take_away(what: str) -> None:
    if what == "pidfds":
        setattr(os, "pidfd_open", fail)  # noqa: B010 - what is set is not of the declared type
    elif what == "children":
        orphans._children_fd = -1  # reading it fails, as where the kernel has no such file
    elif what == "subreaper":
        setattr(supervision, "become_subreaper", bool)  # noqa: B010


def run(handler: Handler, job: Mapping[str, str]) -> None:
    stderr: list[bytes] = []
    with handler.run(
        Job(job_id=job["id"], query_type=job["function"], query=job["query"].encode()), stderr.append
    ) as outcome:
        told: dict[str, Any] = {"job": job["id"], "threads": threading.active_count()}
        if isinstance(outcome, Result):
            told["result"] = base64.b64encode(outcome.spool.getvalue()).decode()
        if isinstance(outcome, Failure):
            told["reason"] = outcome.reason.value
    tell(**told)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def states_of_children() -> list[str]:
    """The kernel's letters for the children of this process."""
    own, states = os.getpid(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == own:
                states.append(fields[0])
    return states


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_bytes())
    for what in spec["without"]:
        take_away(what)
    config = parse_config(spec["config"], path=Path(sys.argv[1]).with_name("cm.toml"))
    shared = Surroundings(environment=launcher_environment(), spool_directory=spec["spool"], stop=StopNow())
    handlers = create_handlers(config.functions.values(), shared, len(spec["jobs"]))

    def run_all() -> None:
        threads = [threading.Thread(target=run, args=(handlers[job["function"]], job)) for job in spec["jobs"]]
        for thread in threads:
            thread.start()
            if not spec["at_once"]:
                thread.join()
        for thread in threads:
            thread.join()

    def work() -> None:
        descriptors = open_descriptors()
        run_all()
        tell(
            end="work",
            more_descriptors=open_descriptors() - descriptors,
            children=states_of_children(),
            families=len(shared.families),
        )

    def signalled(which: signal.Signals, how_often: int) -> None:
        tell(signal=which.name, how_often=how_often)
        if how_often > 1:
            shared.kill_all()
            raise EndAtOnce
        shared.stop.set()

    supervise(work, signalled)
    tell(end="program")


main()
