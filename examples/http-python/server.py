"""A web server as it may be there already: it knows nothing of compute modules."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RATES = {"EUR": 1.0, "USD": 1.25, "CHF": 0.95}


class Rates(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def do_GET(self):
        url = urlsplit(self.path)
        name = url.path.rpartition("/")[2]
        digits = int(parse_qs(url.query).get("digits", ["2"])[0])
        if url.path == "/health":
            self.respond(200, "well")
        elif name in RATES:
            self.respond(200, round(RATES[name], digits))
        else:
            self.respond(404, {"detail": f"there is no rate for {name}"})

    def do_POST(self):
        try:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rate = RATES[query["to"]]
            self.respond(200, [round(amount * rate, 2) for amount in query["amounts"]])
        except (KeyError, TypeError, ValueError) as error:
            self.respond(422, {"detail": repr(error)})

    def respond(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Rates).serve_forever()
