"""A program that runs jobs as cm-exec does, supervised, and reports what is left of them; for tests of processes.

It is started with the path of a JSON file: `config` (a cm.toml), `jobs` (each `id`, `function`, `query`, all at once
or one after another as `at_once` says), and what this system shall not have: `without` "pidfds", "children" (the
kernel's list of them), "subreaper". It prints a JSON line for each job that is over, for each signal, and at the end.
"""

import asyncio
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


def report(**members: object) -> None:
    print(json.dumps(members), flush=True)


def fail(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


SPEC = json.loads(Path(sys.argv[1]).read_bytes())
if "pidfds" in SPEC["without"]:
    setattr(os, "pidfd_open", fail)  # noqa: B010 - what is set is not of the declared type

from cm_exec.config.load import parse_config  # noqa: E402 - cm_exec looks for pidfds when it is imported
from cm_exec.handlers import (  # noqa: E402
    Handler,
    HandlerContext,
    read_environment,
)
from cm_exec.handlers.factory import create_handlers  # noqa: E402
from cm_exec.processes import signals, termination  # noqa: E402
from cm_exec.processes.launcher import prepare_process  # noqa: E402
from cm_exec.processes.termination import Graces  # noqa: E402
from cm_exec.protocol import Job  # noqa: E402

if "children" in SPEC["without"]:
    termination._children_fd = -1  # reading it fails, as where the kernel has no such file
if "subreaper" in SPEC["without"]:
    setattr(signals, "become_subreaper", bool)  # noqa: B010


class Nowhere:
    """Discards a job's stderr."""

    def write(self, chunk: bytes) -> None:
        pass

    def flush(self) -> None:
        pass


async def run(handler: Handler, members: Mapping[str, str]) -> None:
    job = Job(job_id=members["id"], query_type=members["function"], query=members["query"].encode())
    spool = handler.new_spool()
    completion = await handler.run(job, spool, Nowhere())
    if completion.cleanup is not None:
        await completion.cleanup()
    told: dict[str, Any] = {"job": job.job_id, "threads": threading.active_count()}
    if completion.failure is None:
        told["result"] = base64.b64encode(spool.getvalue()).decode()
    else:
        told["reason"] = completion.failure.reason.value
    report(**told)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def states_of_children() -> list[str]:
    """Return the kernel's letters for the children of this process."""
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
    prepare_process()
    config = parse_config(SPEC["config"], path=Path(sys.argv[1]).with_name("cm.toml"))
    context = HandlerContext(
        environment=read_environment(), spool_directory=SPEC["spool"], graces=Graces(quiet=0.3, held_pipe=2)
    )
    handlers = create_handlers(config.functions.values(), context, len(SPEC["jobs"]))

    async def work() -> None:
        descriptors = open_descriptors()
        if SPEC["at_once"]:
            await asyncio.gather(*(run(handlers[job["function"]], job) for job in SPEC["jobs"]))
        else:
            for job in SPEC["jobs"]:
                await run(handlers[job["function"]], job)
        report(
            end="work",
            more_descriptors=open_descriptors() - descriptors,
            children=states_of_children(),
            trees=len(context.trees),
        )

    def signalled(which: signal.Signals, count: int) -> None:
        report(signal=which.name, count=count)
        if count == 1:
            context.abort_all()
        else:
            context.kill_all()

    signals.run_supervised(work, signalled)
    report(end="program")
    os._exit(0)


main()
