"""The part of the standard library that a worker can need."""

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from bundle.interpreter import Interpreter
from bundle.layout import Layout

_LEFT_OUT: Final = (
    # Packages of others, and what belongs to the installation.
    *("site-packages", "dist-packages", "sitecustomize.py", "EXTERNALLY-MANAGED", "config-3*", "_sysconfigdata_*"),
    # Bytecode: it is compiled again for the bundle's paths.
    *("__pycache__", "*/__pycache__", "*.pdb"),
    # Tests.
    *("test", "*/test", "*/tests", "unittest", "doctest.py"),
    # Windows, terminals, games, other systems.
    *("idlelib", "tkinter", "turtle*", "curses", "_pyrepl", "antigravity.py", "this.py", "webbrowser.py"),
    *("asyncio/windows_*", "asyncio/proactor_events.py", "ctypes/macholib", "ctypes/wintypes.py", "_*_support.py"),
    # Tools for developers of Python programs.
    *("ensurepip", "venv", "distutils", "lib2to3", "pydoc.py", "pydoc_data", "pdb.py", "bdb.py", "cmd.py", "code.py"),
    *("profile.py", "cProfile.py", "profiling", "pstats.py", "timeit.py", "trace.py", "tracemalloc.py", "pyclbr.py"),
    *("modulefinder.py", "pickletools.py", "zipapp.py", "symtable.py", "tabnanny.py", "compileall.py", "py_compile.py"),
    *("codeop.py", "imp.py", "_bootsubprocess.py", "__*hello__*", "*/__main__.py", "rlcompleter.py", "json/tool.py"),
    *("argparse.py", "optparse.py", "getopt.py", "fileinput.py", "filecmp.py", "crypt.py", "pipes.py", "sched.py"),
    # Databases, archives and file formats that cm-exec does not read.
    *("dbm", "sqlite3", "shelve.py", "pickle.py", "_compat_pickle.py", "tarfile.py", "bz2.py", "lzma.py", "gzip.py"),
    *("_compression.py", "compression", "plistlib.py", "configparser.py", "netrc.py", "zoneinfo", "aifc.py", "wave.py"),
    *("sunau.py", "chunk.py", "sndhdr.py", "imghdr.py", "colorsys.py", "uu.py", "xdrlib.py", "html", "_markupbase.py"),
    *("xml/dom", "xml/sax"),
    # Protocols that cm-exec does not speak.
    *("xmlrpc", "wsgiref", "cgi*.py", "imaplib.py", "nntplib.py", "poplib.py", "smtp*.py", "ftplib.py", "telnetlib.py"),
    *("mailbox.py", "mailcap.py", "asyncore.py", "asynchat.py", "socketserver.py", "http/server.py", "http/cookie*.py"),
    *("urllib/request.py", "urllib/robotparser.py", "email/mime", "email/policy.py", "email/contentmanager.py"),
    *("email/headerregistry.py", "email/_header_value_parser.py", "logging/config.py", "logging/handlers.py"),
    # Processes and interpreters as workers; cm-exec starts processes by subprocess.
    *("multiprocessing", "concurrent/futures/process.py", "concurrent/futures/interpreter.py"),
    "concurrent/interpreters",
    # Second implementations in Python of what the bundle has compiled.
    *("_pydecimal.py", "_pydatetime.py", "_pyio.py", "statistics.py", "fractions.py"),
    # Text in encodings other than Unicode and Latin-1.
    *("encodings/cp[0-9]*", "encodings/mac_*", "encodings/iso8859_*", "encodings/iso2022_*", "encodings/euc_*"),
    *("encodings/big5*", "encodings/gb*", "encodings/hz.py", "encodings/johab.py", "encodings/koi8_*"),
    *("encodings/shift_jis*", "encodings/kz1048.py", "encodings/ptcp154.py", "encodings/tis_620.py"),
    *("encodings/hp_roman8.py", "encodings/palmos.py", "encodings/bz2_codec.py"),
)
"""Patterns of paths in the standard library's folder; `*` matches slashes too."""

_EXTENSIONS_LEFT_OUT: Final = (
    *("_bz2", "_codecs_*", "_crypt", "_ctypes_test", "_curses*", "_dbm", "_gdbm", "_interp*", "_lsprof", "_lzma"),
    *("_multibytecodec", "_multiprocessing", "_pickle", "_posixshmem", "_remote_debugging", "_sqlite3", "_statistics"),
    *("_test*", "_tkinter", "_xx*", "_zoneinfo", "_zstd", "audioop", "cmath", "nis", "ossaudiodev", "readline", "spwd"),
    *("syslog", "xx*"),
)
"""Compiled modules, by the name that is imported. Most of them would add libraries to the bundle."""


def copy_standard_library(interpreter: Interpreter, layout: Layout) -> list[Path]:
    """Copy the modules, and return the compiled ones by their paths in the interpreter's own library.

    A link is copied as the file that it points to.
    """
    source = interpreter.standard_library

    def left_out(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(source)
        return {name for name in names if _is_left_out(inside / name)}

    shutil.copytree(source, layout.standard_library, ignore=left_out, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    copied = layout.standard_library.rglob("*.so")
    return sorted(source / path.relative_to(layout.standard_library) for path in copied)


def _is_left_out(path: Path) -> bool:
    if path.parent.name == "lib-dynload":
        return any(fnmatch(path.name, f"{name}.*") for name in _EXTENSIONS_LEFT_OUT)
    return any(fnmatch(str(path), pattern) for pattern in _LEFT_OUT)
