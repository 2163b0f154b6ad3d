"""Find the runtime by the environment, modern variables or the original connection file, and trust it alone."""

import asyncio
import ipaddress
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cm_exec.errors import NoRuntimeError
from cm_exec.protocol import environment as names
from cm_exec.runtime.retry import NotReadyError

log: Final = logging.getLogger("cm_exec.runtime")

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class Endpoint(Struct, frozen=True, dict=True):
    """One URL of the runtime. Plain HTTP is only used on a loopback address."""

    host: str
    port: int
    path: str
    is_secure: bool = True

    @cached_property
    def authority(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @cached_property
    def origin(self) -> str:
        """The URL without its path."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority}"


class RuntimeEndpoints(Struct, frozen=True, kw_only=True):
    """The runtime's endpoints with token and trust.

    `ca_pem` holds the certificates of the only authority that is trusted, and is empty for plain HTTP. `schema` and
    `restart` are None if the runtime has no such endpoint.
    """

    job: Endpoint
    result: Endpoint
    schema: Endpoint | None
    restart: Endpoint | None
    token: str
    ca_pem: str

    def __repr__(self) -> str:
        return f"RuntimeEndpoints(job={self.job!r}, result={self.result!r})"  # without the token


async def wait_for_endpoints(environ: Mapping[str, str], seconds: float) -> RuntimeEndpoints:
    """Return the endpoints as soon as their files exist.

    Raises NoRuntimeError when the environment names no runtime, or when a file is still missing after `seconds`.
    """
    deadline = time.monotonic() + seconds
    logged = ""
    while True:
        try:
            return read_endpoints(environ)
        except NotReadyError as error:
            why = str(error)
        if time.monotonic() > deadline:
            raise NoRuntimeError(f"{why}; waited {seconds:g} s for it")
        if why != logged:
            log.info("waiting for the runtime's connection: %s", why)
            logged = why
        await asyncio.sleep(0.1)


def read_endpoints(environ: Mapping[str, str]) -> RuntimeEndpoints:
    """Read variables and files once.

    Raises NotReadyError for a file that is missing or half written, NoRuntimeError for what waiting cannot fix.
    """
    if environ.get(names.GET_JOB_URI) and environ.get(names.POST_RESULT_URI):
        return _from_variables(environ)
    if environ.get(names.CONNECTION_TO_RUNTIME):
        return _from_connection_file(environ)
    missing = [n for n in (names.GET_JOB_URI, names.POST_RESULT_URI) if not environ.get(n)]
    raise NoRuntimeError(
        f"no runtime: {' and '.join(missing)} not set, nor {names.CONNECTION_TO_RUNTIME}. Foundry sets them in a "
        "compute module's container; to try a function without a runtime, use: cm-exec invoke FUNCTION"
    )


def _from_variables(environ: Mapping[str, str]) -> RuntimeEndpoints:
    job = _endpoint(names.GET_JOB_URI, environ[names.GET_JOB_URI])
    result = _endpoint(names.POST_RESULT_URI, environ[names.POST_RESULT_URI], base=job)
    return _with_credentials(environ, job, result, _token(environ), lambda: _ca(environ))


def _with_credentials(
    environ: Mapping[str, str], job: Endpoint, result: Endpoint, token: str, ca_pem: Callable[[], str]
) -> RuntimeEndpoints:
    schema = _optional_endpoint(environ, names.POST_SCHEMA_URI, job)
    restart = _optional_endpoint(environ, names.RESTART_NOTIFICATION_URI, job)
    is_secure = any(endpoint is not None and endpoint.is_secure for endpoint in (job, result, schema, restart))
    return RuntimeEndpoints(
        job=job,
        result=replace(result, path=result.path.rstrip("/")),
        schema=schema,
        restart=restart,
        token=token,
        ca_pem=ca_pem() if is_secure else "",
    )


def _optional_endpoint(environ: Mapping[str, str], name: str, base: Endpoint) -> Endpoint | None:
    uri = environ.get(name)
    return _endpoint(name, uri, base=base) if uri else None


def _endpoint(name: str, uri: str, base: Endpoint | None = None) -> Endpoint:
    """Split a URL; a path without a host is joined to `base`, as the documentation's example for schemas needs it."""
    if uri.startswith("/") and base is not None:
        return replace(base, path=uri)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NoRuntimeError(f"{name}: {uri!r} is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise NoRuntimeError(f"{name}: {uri!r} is not an https:// URL")
    is_secure = parts.scheme == "https"
    if not is_secure and not is_loopback(host):
        raise NoRuntimeError(f"{name}: {uri!r} is not an https:// URL; http:// is accepted for loopback addresses only")
    path = parts.path or "/"
    return Endpoint(
        host, port or (443 if is_secure else 80), f"{path}?{parts.query}" if parts.query else path, is_secure
    )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _token(environ: Mapping[str, str]) -> str:
    """Read the token from the file that the variable names; a value that names no file is the token itself.

    Documented both ways (containers page, custom client page).
    """
    value = environ.get(names.MODULE_AUTH_TOKEN, "")
    if not value.strip():
        raise NoRuntimeError(f"{names.MODULE_AUTH_TOKEN} is not set; it names the file that holds the token")
    if not value.startswith("/") and not _is_file(value):
        return _header_value(names.MODULE_AUTH_TOKEN, value)
    return _header_value(names.MODULE_AUTH_TOKEN, _read(names.MODULE_AUTH_TOKEN, value))


def _header_value(name: str, text: str) -> str:
    token = text.strip()
    if not token:
        raise NotReadyError(f"{name}: the token file is empty")
    if not token.isascii() or not token.isprintable():
        raise NotReadyError(f"{name}: the token has characters that no header can carry")
    return token


def _ca(environ: Mapping[str, str]) -> str:
    for name in (names.DEFAULT_CA_PATH, names.PEER_CA_PATH):
        if environ.get(name):
            return _certificates(name, environ[name])
    raise NoRuntimeError(f"neither {names.DEFAULT_CA_PATH} nor {names.PEER_CA_PATH} is set; one names the CA's file")


def _certificates(name: str, path: str) -> str:
    pem = _read(name, path)
    whole = _CERTIFICATE.findall(pem)  # without the comments, which need not be ASCII
    if not whole or len(whole) != pem.count("-----BEGIN CERTIFICATE-----"):
        raise NotReadyError(f"{name}: {path} holds no whole PEM certificate, or half of one")
    return "\n".join(whole)


class _ConnectionFile(msgspec.Struct, rename="camel"):
    """The file of CONNECTION_TO_RUNTIME."""

    host: str
    port: int | str
    get_job_path: str
    post_result_path: str
    module_auth_token: str = ""
    trust_store_path: str = ""


def _from_connection_file(environ: Mapping[str, str]) -> RuntimeEndpoints:
    name = names.CONNECTION_TO_RUNTIME
    path = environ[name]
    try:
        info = msgspec.json.decode(_read(name, path).encode(), type=_ConnectionFile)
    except msgspec.DecodeError as error:  # half written, or not what it should be: it may be complete later
        raise NotReadyError(f"{name}: {path} is not a whole connection file: {error}") from None
    job, result = (_path_endpoint(info, p) for p in (info.get_job_path, info.post_result_path))
    token = _header_value(f"{name}: {path}", info.module_auth_token) if info.module_auth_token else _token(environ)

    def ca_pem() -> str:
        store = info.trust_store_path
        return _certificates(f"{name}: trustStorePath", store) if store else _ca(environ)

    return _with_credentials(environ, job, result, token, ca_pem)


def _path_endpoint(info: _ConnectionFile, path: str) -> Endpoint:
    host = f"[{info.host}]" if ":" in info.host else info.host
    return _endpoint(names.CONNECTION_TO_RUNTIME, f"https://{host}:{info.port}/{path.removeprefix('/')}")


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise NotReadyError(f"{name}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotReadyError(f"{name}: {path} is not text") from None


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:
        return False


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Return a client context that trusts the certificates in `ca_pem` and no others.

    It trusts nobody if `ca_pem` is empty. Raises NoRuntimeError when the certificates cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # what is in the file is trusted, also an intermediate
    if not ca_pem:
        return context
    try:
        context.load_verify_locations(cadata=ca_pem)
    except ssl.SSLError as error:
        raise NoRuntimeError(f"the CA file's certificates cannot be used: {error.reason or error}") from None
    return context


_HOSTNAME_MISMATCH = 62
_IP_MISMATCH = 64
_EXPIRED = 10
_NOT_YET_VALID = 9


def explain(error: ssl.SSLError, name: str) -> str:
    """Return one sentence on why a connection is not trusted; `name` is what the certificate should be for."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"it does not speak TLS as it should ({error.reason or error}); nothing was sent"
    code = error.verify_code
    if code in {_HOSTNAME_MISMATCH, _IP_MISMATCH}:
        why = f"its certificate is not for {name!r} (tls_server_name under [launcher] names another)"
    elif code == _EXPIRED:
        why = "its certificate has expired"
    elif code == _NOT_YET_VALID:
        why = "its certificate is not valid yet; is this machine's clock right?"
    else:
        why = f"its certificate is not signed by the authority in the CA file ({error.verify_message})"
    return f"it is not to be trusted: {why}; nothing was sent"
