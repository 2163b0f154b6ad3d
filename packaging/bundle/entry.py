"""The script bin/cm-exec."""

from typing import Final

from bundle.layout import HOME, Layout

_SCRIPT: Final = f"""\
#!{HOME}/bin/python3 -ISXutf8
import os
import sys

os.putenv("OPENSSL_CONF", "/dev/null")  # the image's configuration may name modules that the bundle lacks
sys.path.append("{HOME}/site")

from cm_exec.cli import main

main()
"""
"""-I: ignore the image's Python variables and the user's folders. -S: do not search for packages. -X utf8: cm.toml and
paths are UTF-8 whatever the locale is; many images have none."""


def write_entry(layout: Layout) -> None:
    """Write the script. `finish.settle` makes it executable."""
    layout.entry.write_text(_SCRIPT)
