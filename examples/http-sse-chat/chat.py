"""A chat server that streams its reply as server-sent events, and uses the token of the caller."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def reply_tokens(message, token):
    """Call a language model here, with the token, so that it sees what the caller may see."""
    yield "Hello, " if token else "Hello, stranger. "
    for word in ["You ", "said: ", *message.split(" ")]:
        yield word if word.endswith(" ") else f"{word} "


class Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not isinstance(query, dict) or "message" not in query:
            self.send_error(422, "a message is missing")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        for text in reply_tokens(query["message"], token):
            self.wfile.write(f"data: {text}\n\n".encode())
            self.wfile.flush()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Chat).serve_forever()
