"""`cm-exec init`: a folder with a function that works at once."""

from pathlib import Path
from typing import Final

import click

from cm_exec import __version__
from cm_exec.config.model import Mode
from cm_exec.scaffold.languages import LANGUAGES, MODES

_EPILOG: Final = """
\b
Examples:
  cm-exec init hello
  cm-exec init hello --lang go --mode persistent
  cm-exec init hello --lang bash --name greet_customer
  cm-exec init --from-python pricing:quote
"""


@click.command(name="init", epilog=_EPILOG)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option(
    "--lang",
    "language",
    type=click.Choice([*LANGUAGES]),
    help="What the handler is written in.  [default: python]",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="spawn",
    show_default=True,
    help="A process a job, one started ahead, or one that serves many jobs.",
)
@click.option("--name", metavar="FUNCTION", help="The function's name.  [default: greet, or the Python function's]")
@click.option(
    "--from-python",
    "target",
    metavar="MODULE:FUNCTION",
    help="Serve this Python function: its type hints become the function's types.",
)
@click.option(
    "--base-image",
    metavar="IMAGE",
    default=f"cm-exec-base:{__version__}",
    show_default=True,
    help="The image that the Dockerfile takes cm-exec from.",
)
def command(  # noqa: PLR0917 - click's way
    directory: Path, language: str | None, mode: Mode, name: str | None, target: str | None, base_image: str
) -> None:
    """Write a function that works at once to DIRECTORY: cm.toml, a handler, tests, a Dockerfile, a Makefile.

    Nothing that exists is overwritten. With --from-python the function is one that you have: DIRECTORY is where its
    module is, or its package is installed for python3.
    """
    from cm_exec.scaffold.plan import Asked  # noqa: PLC0415 - only a call needs it, not `--help`
    from cm_exec.scaffold.start import start  # noqa: PLC0415 - see above

    if target is not None and language not in {None, "python"}:
        raise click.UsageError(f"--from-python is for Python; leave out --lang {language}")
    asked = Asked(
        directory=directory, language=LANGUAGES[language or "python"], mode=mode, name=name, base_image=base_image
    )
    start(asked, target)
