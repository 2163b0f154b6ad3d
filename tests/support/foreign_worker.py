"""The first lines of a worker that is not cm-exec, for tests that write the rest of it."""

from typing import Final

CLIENT: Final = """
import json, os, ssl, urllib.error, urllib.request
context = ssl.create_default_context(cafile=os.environ["DEFAULT_CA_PATH"])
token = {"Module-Auth-Token": open(os.environ["MODULE_AUTH_TOKEN"]).read(), "Content-Type": "application/octet-stream"}
def send(uri, data=None):
    with urllib.request.urlopen(urllib.request.Request(uri, data, token), context=context) as response:
        return response.status, response.read()
"""
"""`send` posts data, or polls; it returns the status and the body."""
