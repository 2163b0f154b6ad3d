"""Build the self-contained cm-exec: the folder for /opt/cm-exec in an image of any kind.

usage: python packaging/build_bundle.py --output DIR [--archive FILE.tar.gz] ...
"""

import argparse
import os
import sys
from pathlib import Path

try:
    from bundle.build import BuildRequest, build
    from bundle.failure import BundleError
except ModuleNotFoundError as error:
    needed = Path(__file__).with_name("build-requirements.txt")
    sys.exit(f"build_bundle: {error.name} is missing: {sys.executable} -m pip install --require-hashes -r {needed}")


def main() -> None:
    """Build the bundle, or exit with 1 and a sentence that says why not."""
    arguments = _parser().parse_args()
    try:
        summary = build(BuildRequest(**vars(arguments), epoch=_epoch(os.environ.get("SOURCE_DATE_EPOCH", ""))))
    except BundleError as error:
        sys.exit(f"build_bundle: {error}")
    except OSError as error:
        sys.exit(f"build_bundle: {error.filename}: {error.strerror}")
    print(summary)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_bundle", description="Build the self-contained cm-exec.")
    parser.add_argument("--output", type=_path, required=True, help="the folder to fill; it must be empty or missing")
    parser.add_argument("--archive", type=_path, help="also write a .tar.gz, to be unpacked at /")
    parser.add_argument("--wheel", type=_path, help="the wheel of cm-exec; default: built from this source tree")
    parser.add_argument(
        "--python", type=_path, default=Path(sys.executable), help="the Python to bundle; default: the running one"
    )
    parser.add_argument(
        "--wheelhouse", type=_path, help="take the dependencies from the wheels in this folder instead of an index"
    )
    return parser


def _path(text: str) -> Path:
    return Path(text).absolute()


def _epoch(text: str) -> int | None:
    """Parse SOURCE_DATE_EPOCH as reproducible-builds.org defines it. Raises BundleError."""
    if text and not text.isdecimal():
        raise BundleError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, found {text!r}")
    return int(text) if text else None


if __name__ == "__main__":
    main()
