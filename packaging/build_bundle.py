"""Builds the self-contained cm-exec: the folder that is to be /opt/cm-exec in an image of any kind.

usage: python packaging/build_bundle.py --output DIR [--archive FILE.tar.gz] ...
"""

import argparse
import os
import sys
from pathlib import Path

from bundle.build import Request, build
from bundle.failure import BundleError


def main() -> None:
    """Build it and exit with 1 and one sentence where that cannot be done."""
    arguments = _parser().parse_args()
    try:
        summary = build(
            Request(
                output=arguments.output.absolute(),
                archive=arguments.archive,
                wheel=arguments.wheel,
                python=arguments.python,
                wheelhouse=arguments.wheelhouse,
                epoch=int(os.environ.get("SOURCE_DATE_EPOCH", "0")) or None,
            )
        )
    except BundleError as error:
        sys.exit(f"build_bundle: {error}")
    print(summary)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_bundle", description="Build the self-contained cm-exec.")
    parser.add_argument("--output", type=Path, required=True, help="the folder to fill: missing or empty")
    parser.add_argument("--archive", type=Path, help="write a .tar.gz, too, to be unpacked at /")
    parser.add_argument("--wheel", type=Path, help="the wheel of cm-exec; built from this source tree unless said")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="the Python to bundle; the one that runs this"
    )
    parser.add_argument(
        "--wheelhouse", type=Path, help="take the dependencies from the wheels in this folder, without an index"
    )
    return parser


if __name__ == "__main__":
    main()
