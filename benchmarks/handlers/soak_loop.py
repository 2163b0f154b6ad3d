"""A persistent handler that fails as it is told: it writes stray lines at several moments, or hangs."""

import json
import os
import random
import sys
import time


def write(text: str) -> None:
    """One system call a write, so that the moments are what they seem."""
    os.write(1, text.encode())


for line in sys.stdin:
    query = json.loads(line)
    if query["hang"]:
        time.sleep(300)
    time.sleep(random.choice((0, 0, 0, 0.001, 0.003)))  # noqa: S311 - work that takes its time
    answer = json.dumps({"answer": query["ask"][::-1]}) + "\n"
    stray = json.dumps({"answer": "stray of " + query["ask"]}) + "\n"
    match query["stray"]:
        case "before":
            write(stray + answer)
        case "behind":
            write(answer + stray)
        case "at once":
            write(answer)
            write(stray)
        case "a little later":
            write(answer)
            time.sleep(random.uniform(0, 0.004))  # noqa: S311
            write(stray)
        case "when idle":
            write(answer)
            time.sleep(0.1)
            write(stray)
        case "a part":
            write(answer)
            time.sleep(random.uniform(0, 0.002))  # noqa: S311
            write(stray[:10])
        case _:
            write(answer)
