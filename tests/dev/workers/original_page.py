"""The sample client of the original page on authoring a compute module: a serial loop over the connection file."""
# ruff: noqa: PTH123, S310, LOG015 - it is written as the page suggests

import json
import logging
import os
import ssl
import time
import urllib.request
from typing import Any

MAX_READ_ATTEMPTS = 30


def read_connection_info() -> dict[str, Any]:
    for _ in range(MAX_READ_ATTEMPTS):
        try:
            with open(os.environ["CONNECTION_TO_RUNTIME"]) as file:
                return dict(json.load(file))
        except (OSError, ValueError):
            time.sleep(1)
    raise SystemExit("no connection info")


def main() -> None:
    info = read_connection_info()
    context = ssl.create_default_context(cafile=info["trustStorePath"])
    root = f"https://{info['host']}:{info['port']}"
    headers = {"Module-Auth-Token": info["moduleAuthToken"]}

    def send(path: str, data: bytes | None = None, **more: str) -> tuple[int, bytes]:
        request = urllib.request.Request(root + path, data, headers | more)
        with urllib.request.urlopen(request, context=context) as response:
            return response.status, response.read()

    while True:
        try:
            status, body = send(info["getJobPath"])
            if status == 200:
                job = json.loads(body)["computeModuleJobV1"]
                result = job["query"] if job["queryType"] == "echo" else None
                octets = {"Content-Type": "application/octet-stream"}
                send(f"{info['postResultPath']}/{job['jobId']}", json.dumps(result).encode(), **octets)
        except Exception:
            logging.exception("request failed")
            time.sleep(1)


main()
