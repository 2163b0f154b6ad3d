"""An HTTP server whose behaviour depends on the path. Its argument is a port or the path of a Unix socket.

Files in its working folder are signs to the test and from it. `load SECONDS`: it listens only after that time; `at
ADDRESS`: on this address instead of 127.0.0.1.
"""

import json
import os
import socket
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

PLACE: Final = sys.argv[1]
ADDRESS: Final = sys.argv[sys.argv.index("at") + 1] if "at" in sys.argv else "127.0.0.1"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    inet = socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET
    address_family = inet if PLACE.isdigit() else socket.AF_UNIX

    def server_bind(self) -> None:
        if PLACE.isdigit():
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self.socket.bind((ADDRESS, int(PLACE)))
        else:
            self.socket.bind(PLACE)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = PLACE.isdigit()
    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.requests = 0

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:  # noqa: C901, PLR0912, PLR0915 - one branch for each path
        self.requests += 1
        if self.path == "/early":
            self.send(200, b'"early"')
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        verb = self.path.strip("/").split("/")
        if job := self.headers.get("CM-Job-Id"):
            with Path("received").open("a") as received:
                received.write(f"{job}\n")
        match verb:
            case ["health"]:
                self.send(200 if Path("healthy").exists() else 503, b"")
            case ["status", number]:
                self.send(int(number), body)
            case ["raw"]:
                self.send(200, bytes(range(256)) * 2)
            case ["void"]:
                self.send_response(204)
                self.end_headers()
            case ["large", number]:
                self.send(200, b"1" * int(number))
            case ["hang"]:
                Path("hangs").touch()
                self.connection.recv(1)
                Path("gone").touch()
            case ["hold", number]:
                Path(f"held-{number}").touch()
                wait_for(f"go-{number}")
                self.send(200, number.encode())
            case ["header", name, value]:
                self.send(200, body, **{name: unquote(value)})
            case ["exit"]:
                print("no more memory", file=sys.stderr, flush=True)
                os._exit(3)
            case ["cut"]:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1")
                self.close_connection = True
            case ["early"]:
                self.close_connection = True
            case ["open", end]:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[1, 2")
                if end == "crash":
                    os._exit(3)
                self.wfile.write(b"]")
                self.close_connection = True
            case ["drop"]:
                self.close_connection = True
            case ["reset"]:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            case ["close"]:
                self.send(200, body)
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                Path("closed").touch()
            case ["noise"]:
                print(body.decode(), self.headers.get("Authorization"), file=sys.stderr, flush=True)
                self.send(500, b"failed")
            case ["stream"] | ["events"]:
                self.stream(verb == ["events"])
            case _:
                self.send(200, json.dumps(self.described(body)).encode())

    def described(self, body: bytes) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in self.headers.items()}
        method, path = self.command, self.path
        return {
            "method": method,
            "path": path,
            "headers": headers,
            "body": body.decode(),
            "requests": self.requests,
            "pid": os.getpid(),
        }

    def stream(self, events: bool) -> None:
        parts = ["event: token\r\ndata: begin\r\n\r\n", ": a comment\ndata: mid\ndata: dle\nid: 1\n\n", "data: end\n"]
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, part in enumerate(parts if events else ["begin", "middle", "end"]):
            if number == 1:
                wait_for("go")
            self.wfile.write(f"{len(part):x}\r\n{part}\r\n".encode())
        self.wfile.write(b"0\r\n\r\n")

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def address_string(self) -> str:
        return "somebody"


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.002)


if __name__ == "__main__":
    if "load" in sys.argv:
        time.sleep(float(sys.argv[sys.argv.index("load") + 1]))
    Server(("", 0), Answers).serve_forever()
