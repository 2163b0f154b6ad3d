"""A floor: what TLS, HTTP and the kernel cost without anything else.

One poll is always open. The query of each job is posted as its result, on one of MAX_CONCURRENT_TASKS further
connections. It relies on the exact form of the runtime's responses instead of parsing them.
"""

import os
import select
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

TOKEN = Path(os.environ["MODULE_AUTH_TOKEN"]).read_text().encode()
JOB = urlsplit(os.environ["GET_JOB_URI"])
RESULTS = urlsplit(os.environ["POST_RESULT_URI"])
CONTEXT = ssl.create_default_context(cafile=os.environ["DEFAULT_CA_PATH"])
GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\nModule-Auth-Token: %b\r\n\r\n" % (JOB.path.encode(), TOKEN)
HELLO = b"POST %b HTTP/1.1\r\nHost: localhost\r\nModule-Auth-Token: %b\r\nContent-Length: 0\r\n\r\n" % (
    urlsplit(os.environ["RESTART_NOTIFICATION_URI"]).path.encode(),
    TOKEN,
)
POST = (
    b"POST %b/%%b HTTP/1.1\r\nHost: localhost\r\nModule-Auth-Token: %b\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: %%d\r\n\r\n"
) % (RESULTS.path.encode(), TOKEN)


def connect() -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", JOB.port or 443))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = CONTEXT.wrap_socket(plain, server_hostname=JOB.hostname)
    connection.sendall(HELLO)
    receive(connection)  # the session tickets come with it; later they would look like a response
    return connection


def receive(connection: socket.socket) -> bytearray:
    """Read one whole response."""
    response = bytearray()
    while (end := response.find(b"\r\n\r\n")) < 0:
        data = connection.recv(65536)
        if not data:
            raise SystemExit("the connection was closed")
        response += data
    length = response.find(b"Content-Length: ", 0, end)
    size = int(response[length + 16 : response.index(b"\r", length)]) if length > 0 else 0
    missing = end + 4 + size - len(response)
    if missing:
        room = memoryview(bytearray(missing))
        filled = 0
        while filled < missing:
            filled += connection.recv_into(room[filled:])
        response += room
    return response


def parse_job(job: bytearray) -> tuple[bytes, memoryview]:
    """Return the id and the query of a job."""
    job_id_at = job.index(b'"jobId": "') + 10
    query_at = job.index(b'"query": ', job_id_at) + 9
    query = memoryview(job)[query_at : job.rindex(b', "userId"')]
    return bytes(job[job_id_at : job.index(b'"', job_id_at)]), query


def send_result(connection: ssl.SSLSocket, job: bytearray) -> None:
    job_id, query = parse_job(job)
    head = POST % (job_id, len(query))
    if len(query) < 8192:
        connection.sendall(head + bytes(query))
    else:
        connection.sendall(head)
        connection.sendall(query)


def main() -> None:
    poll = connect()
    idle = [connect() for _ in range(int(os.environ["MAX_CONCURRENT_TASKS"]))]
    posting = {connection.fileno(): connection for connection in idle}
    epoll = select.epoll()
    for connection in (poll, *idle):
        epoll.register(connection, select.EPOLLIN)
    poll.sendall(GET)
    while True:
        ready = {descriptor for descriptor, _ in epoll.poll()}
        for descriptor in ready - {poll.fileno()}:
            receive(posting[descriptor])
            idle.append(posting[descriptor])
        if poll.fileno() in ready and idle:  # else the 204 that frees a connection is still on its way
            job = receive(poll)
            poll.sendall(GET)
            if job.startswith(b"HTTP/1.1 200"):
                send_result(idle.pop(), job)


if __name__ == "__main__":
    main()
