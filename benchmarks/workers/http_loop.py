"""A floor: what TLS, HTTP, the kernel and an HTTP server cost without anything else: `http_loop.py SERVER PORT`.

It starts the server and does what tls_loop.py does, with a call of the server between the poll and the post.
"""

import os
import select
import socket
import subprocess
import sys
import time

from tls_loop import GET, POST, connect, parse_job, receive  # type: ignore[import-not-found]  # the script beside it

SERVER, PORT = sys.argv[1:]
CALL = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def call_server() -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", int(PORT)))
        except ConnectionRefusedError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection


def main() -> None:
    subprocess.Popen([sys.executable, SERVER, PORT])  # it ends with the process group of this worker
    count = int(os.environ["MAX_CONCURRENT_TASKS"])
    free = [call_server() for _ in range(count)]
    idle = [connect() for _ in range(2 * count)]  # one job can await the answer to its post while the next is posted
    calls = {connection.fileno(): connection for connection in free}
    posts = {connection.fileno(): connection for connection in idle}
    poll = connect()
    called: dict[int, bytes] = {}
    epoll = select.epoll()
    for connection in (poll, *free, *idle):
        epoll.register(connection, select.EPOLLIN)
    poll.sendall(GET)
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor in posts:
                receive(posts[descriptor])
                idle.append(posts[descriptor])
            elif descriptor in calls:
                answer = receive(calls[descriptor])
                body = answer[answer.index(b"\r\n\r\n") + 4 :]
                free.append(calls[descriptor])
                idle.pop().sendall(POST % (called.pop(descriptor), len(body)) + body)
            else:
                job = receive(poll)
                poll.sendall(GET)
                if job.startswith(b"HTTP/1.1 200"):
                    job_id, query = parse_job(job)
                    server = free.pop()
                    called[server.fileno()] = job_id
                    server.sendall(CALL % len(query) + bytes(query))


if __name__ == "__main__":
    main()
