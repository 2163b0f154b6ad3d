"""A service that answers several jobs in random order and fails on request, in each way in which one can."""

import heapq
import json
import os
import random
import select
import time
from itertools import count
from typing import Any

JOBS = 16
LARGE = "x" * 200_000

due: list[tuple[float, int, bytes]] = []
number = count()
in_hand: set[str] = set()
late: dict[str, bytes] = {}
crash_at = float("inf")


def line(**members: object) -> bytes:
    return json.dumps(members).encode() + b"\n"


def later(seconds: float, text: bytes) -> None:
    heapq.heappush(due, (time.monotonic() + seconds, next(number), text))


def write(text: bytes) -> None:
    """Write in random pieces, as buffers of other programs do."""
    while text:
        text = text[os.write(1, text[: random.choice((7, 512, 65_536))]) :]  # noqa: S311


def begin(job_id: str, query: dict[str, Any]) -> None:  # noqa: C901, PLR0912 - one branch for each fault
    """Plan the answer, or what comes in its place."""
    global crash_at  # noqa: PLW0603 - the state of a small script
    in_hand.add(job_id)
    result = {"answer": query["ask"][::-1]}
    answer = line(jobId=job_id, result=result)
    stray = {"answer": "stray of " + query["ask"]}
    pause = random.uniform(0, 0.01)  # noqa: S311
    match query["fault"]:
        case "unknown id":
            later(pause, line(jobId=f"not {job_id}", result=stray) + answer)
        case "missing id":
            later(pause, line(result=stray) + answer)
        case "twice":
            later(pause, answer + line(jobId=job_id, result=stray))
        case "twice with a pause":
            later(pause, answer)
            later(pause + random.uniform(0, 0.02), line(jobId=job_id, result=stray))  # noqa: S311
        case "half a message":
            later(pause, answer[: len(answer) // 2])
        case "half a message and the end":
            write(answer[: len(answer) // 2])
            os._exit(0)
        case "crash":
            crash_at = time.monotonic() + 0.3
        case "late":
            late[job_id] = answer
        case "late error":
            late[job_id] = line(jobId=job_id, error="too late")
        case "error":
            later(pause, line(jobId=job_id, error=stray))
        case "too much":
            later(pause, line(jobId=job_id, result=LARGE))
        case "log":
            later(pause, line(jobId=job_id, log="a line") * 100 + answer)
        case "no JSON":
            later(pause, b"a debug line\n" + answer)
        case "closed output":
            os.close(1)
            time.sleep(300)
        case "deaf":
            time.sleep(0.3)
            later(pause, answer)
        case "hang":
            pass
        case _:
            later(pause, answer)


rest = b""
while True:
    now = time.monotonic()
    if crash_at <= now or (crash_at != float("inf") and len(in_hand) >= JOBS):
        os._exit(3)
    wait = min(due[0][0] if due else now + 1, crash_at) - now
    if select.select([0], [], [], max(0, wait))[0]:
        chunk = os.read(0, 65_536)
        if not chunk:
            break
        *messages, rest = (rest + chunk).split(b"\n")
        for message in map(json.loads, messages):
            if "cancel" not in message:
                begin(message["jobId"], message["query"])
            elif message["jobId"] in late:
                later(random.uniform(0, 0.1), late.pop(message["jobId"]))  # noqa: S311
    while due and due[0][0] <= time.monotonic():
        text = heapq.heappop(due)[2]
        in_hand.difference_update([json.loads(each).get("jobId") for each in text.splitlines() if each[-1:] == b"}"])
        write(text)
