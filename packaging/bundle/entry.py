"""The script that people start."""

from typing import Final

from bundle.layout import HOME, Layout

_SCRIPT: Final = f"""\
#!{HOME}/bin/python3 -ISXutf8
import os
import sys

os.putenv("OPENSSL_CONF", "/dev/null")  # an image's own may name modules that are not here
sys.path.append("{HOME}/site")

from cm_exec.cli import main

main()
"""
"""-I: no variable of an image that has a Python of its own, and no folder of a user, has a say. -S: no search for
packages. -X utf8: cm.toml and paths are UTF-8 whatever the locale is, which an image may not even have."""


def write_entry(layout: Layout) -> None:
    """Write it; the last step makes it executable."""
    layout.entry.write_text(_SCRIPT)
