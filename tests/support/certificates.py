"""Certificates of a runtime: valid ones, and one for each kind of fault."""

import datetime as dt
import ssl
from dataclasses import dataclass, field
from typing import Final

import trustme

LOCAL_NAMES: Final = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority. `pem` is the certificate that workers trust."""

    ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def pem(self) -> bytes:
        return self.ca.cert_pem.bytes()

    def good(self) -> ssl.SSLContext:
        """Issue a certificate for localhost and 127.0.0.1."""
        return _server_context(self.ca.issue_cert(*LOCAL_NAMES))

    def expired(self) -> ssl.SSLContext:
        """Issue a certificate for localhost that expired yesterday."""
        now = dt.datetime.now(tz=dt.UTC)
        leaf = self.ca.issue_cert(
            *LOCAL_NAMES, not_before=now - dt.timedelta(days=9), not_after=now - dt.timedelta(days=1)
        )
        return _server_context(leaf)

    def named(self, name: str) -> ssl.SSLContext:
        """Issue a certificate for `name` only."""
        return _server_context(self.ca.issue_cert(name))


def _server_context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context
