"""`python -m benchmarks.runtime CERTIFICATE_PEM TOKEN`."""

import ssl
import sys

from benchmarks.runtime.server import Server


def main() -> None:
    certificate, token = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    Server(context, token).serve()


if __name__ == "__main__":
    main()
