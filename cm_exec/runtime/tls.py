"""TLS with the runtime: only its own authority is trusted, and failures are explained in plain words."""

import ssl

from cm_exec.errors import NoRuntimeError


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
