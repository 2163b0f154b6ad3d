"""`cm-exec init`: writes a project with a working function."""

from pathlib import Path
from typing import Any, Final, get_args

import click

from cm_exec import __version__
from cm_exec.cli.options import SuggestingChoice
from cm_exec.scaffold import EXAMPLES, LANGUAGES, ProjectMode, find_language

_EPILOG: Final = """
\b
Examples:
  cm-exec init hello
  cm-exec init hello --lang go --mode persistent
  cm-exec init hello --lang node --mode service
  cm-exec init hello --lang bash --name greet_customer
  cm-exec init --from-python pricing:quote
  cm-exec init hello --template pandas
  cm-exec init --add second
"""


class LanguageChoice(SuggestingChoice):
    """The name of a language, or an alias."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name. Raises click.BadParameter with the nearest one, and with what to do for other languages."""
        try:
            return find_language(str(value)).name
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


@click.command(name="init", epilog=_EPILOG)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--lang", "lang", type=LanguageChoice([*LANGUAGES]), help="The handler's language.  [default: python]")
@click.option(
    "--mode",
    type=SuggestingChoice(get_args(ProjectMode)),
    default="spawn",
    show_default=True,
    help="spawn: a process for each job; prespawn: the same, started ahead; persistent: a process for many jobs; "
    "service: a process for several functions and several jobs at a time.",
)
@click.option("--name", metavar="FUNCTION", help="The function's name.  [default: greet, or the Python function's]")
@click.option(
    "--add", "added", metavar="NAME", help="Add a function to the cm.toml in DIRECTORY, instead of a new project."
)
@click.option(
    "--template",
    "example",
    type=SuggestingChoice([*EXAMPLES]),
    help="Start from a larger example: pandas in Python, a model in R, an image with ImageMagick, or a database.",
)
@click.option(
    "--from-python",
    "target",
    metavar="MODULE[:FUNCTION]",
    help="Serve this Python function, or all functions of the module as one service: type hints become types.",
)
@click.option(
    "--base-image",
    metavar="IMAGE",
    default=f"cm-exec-base:{__version__}",
    show_default=True,
    help="The image that the Dockerfile takes cm-exec from.",
)
def command(  # noqa: PLR0917 - click's way
    directory: Path,
    lang: str | None,
    mode: ProjectMode,
    name: str | None,
    added: str | None,
    example: str | None,
    target: str | None,
    base_image: str,
) -> None:
    """Write a project with a working function to DIRECTORY: cm.toml, a handler, tests, a Dockerfile, a Makefile.

    Existing files are never overwritten. With --from-python it wraps existing Python functions: DIRECTORY is the
    folder of their module, or their package is installed for python3. With --add it adds a function to a project.
    """
    from cm_exec.scaffold.create import add_function, check_name, create_project, language_of  # noqa: PLC0415 - `--help` needs none of it
    from cm_exec.scaffold.project import ProjectArgs  # noqa: PLC0415

    if target is not None and lang not in {None, "python"}:
        raise click.UsageError(f"--from-python is for Python; leave out --lang {lang}")
    if target is not None and mode == "service":
        raise click.UsageError(
            "leave out --mode service: --from-python MODULE makes one service of all functions of the module"
        )
    if added is not None and name is not None:
        raise click.UsageError("--add NAME already names the function; leave out --name")
    if added is not None and mode == "service":
        raise click.UsageError("--add adds a function, not a service; leave out --mode service")
    if example is not None and (name, added, target, lang, mode) != (None, None, None, None, "spawn"):
        raise click.UsageError("--template has its own language, mode and function: leave out the other options")
    for text, option in ((name, "--name"), (added, "--add")):
        if text is not None:
            check_name(text, option)
    if example is not None:
        lang = EXAMPLES[example][0]
    language = LANGUAGES[lang or "python"] if lang or added is None else language_of(directory)
    args = ProjectArgs(directory=directory, language=language, mode=mode, name=name, base_image=base_image)
    if added is None:
        create_project(args, target=target, example=example)
    else:
        add_function(args, added, target)
