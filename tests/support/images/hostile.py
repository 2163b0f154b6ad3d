"""An image with environment variables that break programs; each is set in some real image."""

from pathlib import Path
from typing import Final

_MODULES: Final = ("os", "encodings/__init__", "site", "sitecustomize", "json/__init__", "ssl", "click", "urllib3")
_LIBRARIES: Final = ("libz.so.1", "libssl.so.3", "libcrypto.so.3", "libm.so.6", "libffi.so.8", "libexpat.so.1")
_C_LIBRARY: Final = "libc.so.6"

PLACE: Final = "/hostile"
"""Where the folder has to be in the container."""

VARIABLES: Final = {
    "PYTHONPATH": f"{PLACE}/python",
    "PYTHONHOME": f"{PLACE}/no-such-folder",
    "PYTHONSTARTUP": f"{PLACE}/python/site.py",
    "PYTHONPLATLIBDIR": "lib64",
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
    "PYTHONOPTIMIZE": "2",
    "LD_LIBRARY_PATH": f"{PLACE}/lib",
    "SSL_CERT_FILE": f"{PLACE}/no-such-file",
    "OPENSSL_CONF": f"{PLACE}/openssl.cnf",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


def write(folder: Path, *, with_c_library: bool) -> None:
    """Fill the folder. An invalid C library ends every dynamic program that loads it, so it is not for all roots."""
    for module in _MODULES:
        path = folder / "python" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('raise SystemExit("a module of the image was imported")\n')
    folder.joinpath("lib").mkdir()
    for library in (*_LIBRARIES, *([_C_LIBRARY] if with_c_library else [])):
        folder.joinpath("lib", library).write_text("not a library\n")
    folder.joinpath("openssl.cnf").write_text("openssl_conf = nothing\n[nothing\n")
