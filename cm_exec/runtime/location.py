"""Where the runtime is, from the environment: the modern variables or the original connection file."""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from cm_exec.protocol import environment as names
from cm_exec.runtime.errors import NoRuntimeError, NotReadyError

log: Final = logging.getLogger(__name__)

WAIT_FOR_FILES: Final = 60.0
"""Seconds to wait for the files that the platform writes when the container already runs."""

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class Endpoint(Struct, frozen=True):
    """One URL of the runtime, always HTTPS."""

    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """The URL without its path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


class Location(Struct, frozen=True, kw_only=True):
    """The runtime's endpoints with what is needed to talk to them.

    `ca_pem` holds the certificates of the only authority that is trusted. `schema` and `restart` are None where
    the runtime has no such endpoint.
    """

    job: Endpoint
    result: Endpoint
    schema: Endpoint | None
    restart: Endpoint | None
    token: str
    ca_pem: str

    def __repr__(self) -> str:
        return f"Location(job={self.job!r}, result={self.result!r})"  # without the token


def wait_for_location(environ: Mapping[str, str], stopped: Callable[[float], bool]) -> Location | None:
    """The location, as soon as its files are there; None when `stopped(seconds)` says that nobody wants it any more.

    Raises NoRuntimeError when the environment names no runtime, or a file is still missing after WAIT_FOR_FILES.
    """
    deadline = time.monotonic() + WAIT_FOR_FILES
    told = ""
    while True:
        try:
            return read_location(environ)
        except NotReadyError as error:
            why = str(error)
        if time.monotonic() > deadline:
            raise NoRuntimeError(f"{why}; waited {WAIT_FOR_FILES:g} s for it")
        if why != told:
            log.info("waiting for the runtime's connection: %s", why)
            told = why
        if stopped(0.1):
            return None


def read_location(environ: Mapping[str, str]) -> Location:
    """Read variables and files once.

    Raises NotReadyError for a file that is missing or half written, NoRuntimeError for what no waiting can mend.
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


def _from_variables(environ: Mapping[str, str]) -> Location:
    job = _endpoint(names.GET_JOB_URI, environ[names.GET_JOB_URI])
    return Location(
        job=job,
        result=_endpoint(names.POST_RESULT_URI, environ[names.POST_RESULT_URI], base=job),
        schema=_optional_endpoint(environ, names.POST_SCHEMA_URI, job),
        restart=_optional_endpoint(environ, names.RESTART_NOTIFICATION_URI, job),
        token=_token(environ),
        ca_pem=_ca(environ),
    )


def _optional_endpoint(environ: Mapping[str, str], name: str, base: Endpoint) -> Endpoint | None:
    uri = environ.get(name)
    return _endpoint(name, uri, base=base) if uri else None


def _endpoint(name: str, uri: str, base: Endpoint | None = None) -> Endpoint:
    """Take a URL apart; a mere path is joined to `base`, as the documentation's example for schemas needs it."""
    if uri.startswith("/") and base is not None:
        return Endpoint(base.host, base.port, uri)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or 443
    except ValueError as error:
        raise NoRuntimeError(f"{name}: {uri!r} is not a URL: {error}") from None
    if parts.scheme != "https" or not host:
        raise NoRuntimeError(f"{name}: {uri!r} is not an https:// URL; the token is sent over HTTPS only")
    path = parts.path or "/"
    return Endpoint(host, port, f"{path}?{parts.query}" if parts.query else path)


def _token(environ: Mapping[str, str]) -> str:
    """The token in the file that the variable names; where it names no file, it is the token itself.

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


def _from_connection_file(environ: Mapping[str, str]) -> Location:
    name = names.CONNECTION_TO_RUNTIME
    path = environ[name]
    try:
        info = msgspec.json.decode(_read(name, path).encode(), type=_ConnectionFile)
    except msgspec.DecodeError as error:  # half written, or not what it should be: time will tell
        raise NotReadyError(f"{name}: {path} is not a whole connection file: {error}") from None
    job, result = (_path_endpoint(info, p) for p in (info.get_job_path, info.post_result_path))
    token = _header_value(f"{name}: {path}", info.module_auth_token) if info.module_auth_token else _token(environ)
    ca = _certificates(f"{name}: trustStorePath", info.trust_store_path) if info.trust_store_path else _ca(environ)
    return Location(
        job=job,
        result=result,
        schema=_optional_endpoint(environ, names.POST_SCHEMA_URI, job),
        restart=_optional_endpoint(environ, names.RESTART_NOTIFICATION_URI, job),
        token=token,
        ca_pem=ca,
    )


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
        return os.path.isfile(path)  # noqa: PTH113 - a long token is no path: pathlib raises where this says no
    except ValueError:
        return False
