"""A certificate authority and a server certificate for one run of the local runtime."""

import ssl
from dataclasses import dataclass

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """`server` is ready to accept connections; `ca` is the PEM that a worker trusts."""

    server: ssl.SSLContext
    ca: bytes


def issue() -> Certificates:
    """A new CA, and a certificate for the names under which a worker may reach the runtime.

    `host.docker.internal` and `host.containers.internal` are how a container names the machine it runs on.
    """
    authority = trustme.CA(organization_name="cm-exec local runtime")
    names = ("localhost", "127.0.0.1", "::1", "host.docker.internal", "host.containers.internal")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    return Certificates(server=server, ca=authority.cert_pem.bytes())
