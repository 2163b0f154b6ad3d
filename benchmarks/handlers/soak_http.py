"""An HTTP server that fails on request, in each way in which one can: POST /FAULT. Its arguments are a port and a file.

The file gets the id of each job whose request it has read, so that one which was sent twice is seen.
"""

import json
import os
import random
import socket
import struct
import sys
import threading
import time
from urllib.parse import unquote

PORT, LEDGER = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
ANSWERS = {
    "status": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nfailed",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}
CLOSING = {"close", "close soon", "reset soon", "to the end", "half", "garbage"}


def main() -> None:
    while True:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", PORT))
        listener.listen(128)
        try:
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=serve, args=(client, listener), daemon=True).start()
        except OSError:  # the fault "refuse" has shut it down
            listener.close()
            time.sleep(0.2)


def serve(client: socket.socket, listener: socket.socket) -> None:
    try:
        while answer(client, listener):
            pass
    except OSError:
        pass
    client.close()


def answer(client: socket.socket, listener: socket.socket) -> bool:  # noqa: C901, PLR0911 - one branch for each fault
    """Answer one request; return whether the connection is kept."""
    head, body = read_head(client)
    if not head:
        return False
    path = unquote(head.split(b" ", 2)[1].decode())
    if path == "/ready":
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True
    os.write(LEDGER, header(head, b"cm-job-id") + b"\n")
    fault = path.removeprefix("/")
    if fault == "early":
        client.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return False
    size = int(header(head, b"content-length"))
    while len(body) < size:
        body += client.recv(1 << 20) or sys.exit()
    match fault:
        case "hang":
            client.recv(1)
            return False
        case "exit":
            os._exit(3)
        case "no answer":
            return False
        case "reset":
            reset(client)
            return False
        case "refuse":
            listener.shutdown(socket.SHUT_RDWR)
    query = json.loads(body)
    result = json.dumps({"answer": query["ask"][::-1], "pad": query.get("pad")}).encode()
    send(client, fault, result)
    if fault.endswith("soon"):
        time.sleep(random.uniform(0, 0.003))  # noqa: S311 - while the next request may be sent
    if fault == "reset soon":
        reset(client)
    return fault not in CLOSING


def send(client: socket.socket, fault: str, result: bytes) -> None:
    """Send the answer in the form that the fault asks for."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(result), result)
    match fault:
        case "interim":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole)
        case "chunked":
            client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(result), 5):
                part = result[start : start + 5]
                client.sendall(b"%x;name=value\r\n%b\r\n" % (len(part), part))
            client.sendall(b"0\r\nTrailer: 1\r\n\r\n")
        case "slow":
            for byte in whole:
                client.sendall(bytes((byte,)))
        case "to the end":
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + result)
        case "half":
            client.sendall(whole[:-1])
        case _:
            client.sendall(ANSWERS.get(fault, whole))


def read_head(client: socket.socket) -> tuple[bytes, bytearray]:
    """Return a head, empty at the end of the connection, and what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65_536)
        if not chunk:
            return b"", bytearray()
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return head, bytearray(body)


def header(head: bytes, name: bytes) -> bytes:
    """Return the value of a header."""
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return next(value.strip() for key, _, value in lines if key.lower() == name)


def reset(client: socket.socket) -> None:
    """Close the connection with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


if __name__ == "__main__":
    main()
