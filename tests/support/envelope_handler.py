"""A process with the envelope that runs several jobs concurrently. Each query is `["verb", argument...]`.

Its own arguments: `frames` for content-length framing, `ready FILE` to send `{"ready": true}` once FILE exists,
`load SECONDS` to read nothing before.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

FRAMES: Final = "frames" in sys.argv
cancelled: dict[str, threading.Event] = {}
lock: Final = threading.Lock()


def main() -> None:
    if "load" in sys.argv:
        time.sleep(float(sys.argv[sys.argv.index("load") + 1]))
    if "ready" in sys.argv:
        wait_for(sys.argv[sys.argv.index("ready") + 1])
        send(ready=True)
    while line := sys.stdin.buffer.readline():
        if FRAMES:
            sys.stdin.buffer.readline()
            line = sys.stdin.buffer.read(int(line.removeprefix(b"Content-Length:")))
        message = json.loads(line)
        if "cancel" in message:
            cancelled[message["jobId"]].set()
        else:
            cancelled[message["jobId"]] = threading.Event()
            threading.Thread(target=work, args=(message["jobId"], message), daemon=True).start()


def work(job_id: str, message: dict[str, Any]) -> None:  # noqa: C901, PLR0912 - one branch for each verb
    verb, *arguments = message["query"]
    match verb, arguments:
        case "echo", [value]:
            send(jobId=job_id, result=value)
        case "pid", []:
            send(jobId=job_id, result=os.getpid())
        case "members", []:
            send(jobId=job_id, result=message)
        case "hold", [ready, go, value]:
            Path(ready).touch()
            wait_for(go)
            send(jobId=job_id, result=value)
        case "log_until", [go, value]:
            while not Path(go).exists():
                send(jobId=job_id, log="at work")
                time.sleep(0.2)
            send(jobId=job_id, result=value)
        case "until_cancelled", [ready]:
            Path(ready).touch()
            cancelled[job_id].wait()
            send(jobId=job_id, result="late")
        case "forget", [ready]:
            Path(ready).touch()
        case "members_of", [*messages]:
            for members in messages:
                send(jobId=job_id, **members)
        case "stream", [go, first, *rest]:
            send(jobId=job_id, chunk=first)
            wait_for(go)
            for value in rest:
                send(jobId=job_id, chunk=value)
            send(jobId=job_id, end=True)
        case "send", [members]:
            send(**members)
        case "stderr", [text]:
            os.write(2, text.encode())
            send(jobId=job_id, result=None)
        case "raw", [text]:
            write(text.encode())
        case "raw_and_exit", [text]:
            write(text.encode())
            os._exit(0)
        case "exit", [status]:
            os._exit(status)


def send(**members: object) -> None:
    text = json.dumps(members).encode()
    write(b"Content-Length: %d\r\n\r\n%b" % (len(text), text) if FRAMES else text + b"\n")


def write(text: bytes) -> None:
    with lock:
        view = memoryview(text)
        while view:
            view = view[os.write(1, view) :]


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.002)


if __name__ == "__main__":
    main()
