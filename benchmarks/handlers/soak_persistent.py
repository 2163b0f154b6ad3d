"""A persistent handler that fails on request: it hangs, or writes a stray line at one of several moments."""

import json
import os
import random
import sys
import time


def write(text: str) -> None:
    """Write with one system call, so that the moments are as intended."""
    os.write(1, text.encode())


for line in sys.stdin:
    query = json.loads(line)
    answer = json.dumps({"answer": query["ask"][::-1]}) + "\n"
    stray = json.dumps({"answer": "stray of " + query["ask"]}) + "\n"
    time.sleep(random.choice((0, 0, 0, 0.001, 0.003)))  # noqa: S311 - jobs of different duration
    match query["fault"]:
        case "hang":
            time.sleep(300)
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
