"""A handler for one job that fails on request: it hangs, dies, or leaves processes behind."""

import json
import os
import signal
import subprocess
import sys
import time

query = json.loads(sys.stdin.buffer.read())
answer = json.dumps({"answer": query["ask"][::-1]}).encode()

match query["fault"]:
    case "hang":
        time.sleep(300)
    case "half a result":
        os.write(1, answer[: len(answer) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    case "status":
        os.write(1, answer)
        sys.exit(3)
    case "noise":
        os.write(1, answer)
        os.write(2, b"noise\n" * 50_000)
    case "orphan":
        os.write(1, answer)
        subprocess.Popen(["/bin/sleep", "300"], stdin=0, stdout=2, start_new_session=True)
    case "orphan with the pipe":
        os.write(1, answer)
        subprocess.Popen(["/bin/sleep", "300"])
    case "early end of output":
        os.write(1, answer)
        os.close(1)
        time.sleep(0.05)
    case _:
        os.write(1, answer)
