"""What is wrong with a connection, in plain words."""

import ssl

import pytest

from cm_exec.errors import NoRuntimeError
from cm_exec.runtime.endpoints import explain, tls_context
from tests.support.certificates import Authority


def verification_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (62, ["'localhost'", "tls_server_name", "[launcher]"]),
        (64, ["'localhost'", "tls_server_name", "[launcher]"]),
        (10, ["has expired"]),
        (9, ["not valid yet", "clock"]),
        (18, ["not signed by the authority in the CA file", "self-signed"]),
    ],
)
def test_each_fault_of_a_certificate_is_named(code: int, words: list[str]) -> None:
    sentence = explain(verification_error(code), "localhost")
    assert sentence.startswith("it is not to be trusted: ")
    assert sentence.endswith("; nothing was sent")
    assert all(word in sentence for word in words)


@pytest.mark.parametrize(("reason", "said"), [("WRONG_VERSION_NUMBER", "WRONG_VERSION_NUMBER"), (None, "the library")])
def test_no_tls(reason: str | None, said: str) -> None:
    """A server that does not speak TLS is reported with the reason."""
    error = ssl.SSLError(1, "the library")
    error.reason = reason  # type: ignore[assignment]
    sentence = explain(error, "localhost")
    assert "does not speak TLS" in sentence
    assert said in sentence
    assert sentence.endswith("; nothing was sent")


def test_a_context_verifies_certificate_and_name() -> None:
    context = tls_context(Authority().pem.decode())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_only_the_given_authority_is_trusted() -> None:
    one = Authority()
    (trusted,) = tls_context(one.pem.decode()).get_ca_certs(binary_form=True)
    assert trusted == ssl.PEM_cert_to_DER_cert(one.pem.decode())


@pytest.mark.parametrize(
    "pem", ["-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_invalid_ca(pem: str) -> None:
    """A CA that cannot be used is reported."""
    with pytest.raises(NoRuntimeError, match="the CA file's certificates cannot be used"):
        tls_context(pem)


def test_no_ca() -> None:
    """Without a CA no certificate is trusted."""
    assert tls_context("").get_ca_certs() == []
