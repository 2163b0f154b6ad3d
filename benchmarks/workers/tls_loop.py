"""A floor: what TLS, HTTP and the kernel cost when nothing else is done.

One poll is open at all times; each job's query goes back as its result, on one of MAX_CONCURRENT_TASKS further
connections. It knows the shape of the runtime's answers and parses nothing.
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
    receive(connection)  # the session tickets come with it; later they would look like an answer
    return connection


def receive(connection: ssl.SSLSocket) -> bytearray:
    """One whole answer."""
    answer = bytearray()
    while (end := answer.find(b"\r\n\r\n")) < 0:
        data = connection.recv(65536)
        if not data:
            raise SystemExit("the runtime closed the connection")
        answer += data
    length = answer.find(b"Content-Length: ", 0, end)
    size = int(answer[length + 16 : answer.index(b"\r", length)]) if length > 0 else 0
    missing = end + 4 + size - len(answer)
    if missing:
        room = memoryview(bytearray(missing))
        filled = 0
        while filled < missing:
            filled += connection.recv_into(room[filled:])
        answer += room
    return answer


def send_result(connection: ssl.SSLSocket, job: bytearray) -> None:
    job_id_at = job.index(b'"jobId": "') + 10
    query_at = job.index(b'"query": ', job_id_at) + 9
    query = memoryview(job)[query_at : job.rindex(b', "userId"')]
    job_id = bytes(job[job_id_at : job.index(b'"', job_id_at)])
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
