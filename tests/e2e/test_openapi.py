"""A server with an OpenAPI document becomes a module: `cm-exec schema --from`, and its command."""

import json
import socket
import sys
from typing import Any

import pytest

from tests.support.answers import error_of
from tests.support.worker_harness import WorkerHarness

SERVER = """
import http.server, json, sys

class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        result = json.dumps([self.command, self.path, body]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(result)))
        self.end_headers()
        self.wfile.write(result)

    do_GET = do_POST = do_DELETE = answer

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


def parameter(name: str, place: str, schema: object, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema, "required": required}


def body(schema: object) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


STRING = {"type": "string"}
RESPONSES = {"responses": {"200": {"description": "an echo", "content": {"application/json": {"schema": {}}}}}}
OPENAPI = {
    "openapi": "3.1.0",
    "paths": {
        "/items/{id}": {
            "parameters": [parameter("id", "path", STRING, required=True)],
            "get": {
                "operationId": "read",
                "parameters": [
                    parameter("q", "query", STRING),
                    parameter("tags", "query", {"type": "array", "items": STRING}),
                ],
                **RESPONSES,
            },
            "delete": {"operationId": "delete", **RESPONSES},
        },
        "/predict": {
            "post": {
                "operationId": "predict",
                "requestBody": body({"type": "array", "items": {"type": "number"}}),
                **RESPONSES,
            }
        },
        "/classify": {
            "post": {
                "operationId": "classify",
                "requestBody": body({"properties": {"text": STRING}, "required": ["text"]}),
                **RESPONSES,
            }
        },
    },
}


@pytest.fixture
def module(harness: WorkerHarness) -> WorkerHarness:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = {"servers": [{"url": f"http://localhost:{port}"}]}
    harness.folder.joinpath("openapi.json").write_text(json.dumps(OPENAPI | server))
    harness.folder.joinpath("server.py").write_text(SERVER)
    described = harness.cm_exec("schema", "--from", "openapi.json")
    assert described.returncode == 0
    example = '# command = ["uvicorn", "main:app", "--port", "8000"]'
    command = json.dumps([sys.executable, "server.py", str(port)])
    text = described.stdout.decode()
    assert example in text
    harness.start(text.replace(example, f"command = {command}"))
    return harness


@pytest.mark.parametrize(
    ("function", "query", "request_"),
    [
        ("read", {"id": "a/b c"}, ["GET", "/items/a%2Fb%20c", ""]),
        ("read", {"id": "1", "q": "x&y", "tags": ["a", "b"]}, ["GET", "/items/1?q=x%26y&tags=a&tags=b", ""]),
        ("delete", {"id": "1"}, ["DELETE", "/items/1", ""]),
        ("predict", {"body": [1, 2.5]}, ["POST", "/predict", "[1, 2.5]"]),
        ("classify", {"text": "ä"}, ["POST", "/classify", '{"text": "ä"}']),
    ],
)
def test_an_operation_becomes_a_function(
    module: WorkerHarness, function: str, query: object, request_: list[str]
) -> None:
    sent = json.dumps(query, ensure_ascii=False).encode()
    assert json.loads(module.runtime.call(function, sent)) == request_


@pytest.mark.parametrize(("function", "query"), [("read", b"{}"), ("read", b"[]"), ("predict", b"3")])
def test_a_query_that_cannot_become_a_request(module: WorkerHarness, function: str, query: bytes) -> None:
    error = error_of(module.runtime.result(module.runtime.submit(function, query)), function=function)
    assert error["reason"] == "invalid_query"
