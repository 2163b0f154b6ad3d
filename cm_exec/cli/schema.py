"""`cm-exec schema`: prints the published function schemas, or a cm.toml for functions that are described elsewhere."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec

from cm_exec.config.load import load_config, read_file
from cm_exec.protocol.function_schema import schemas_body

_NO_PATH: Final = ""


@click.command(name="schema")
@click.option(
    "--config",
    "-c",
    "path",
    is_flag=False,
    flag_value=_NO_PATH,
    default="cm.toml",
    show_default=True,
    metavar="[PATH]",
    envvar="CM_EXEC_CONFIG",
    show_envvar=True,
    help="With PATH, the file that maps functions to commands. Without, print the JSON Schema of cm.toml instead.",
)
@click.option("--pretty", is_flag=True, help="Indent the schemas.")
@click.option(
    "--from",
    "description",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Print a cm.toml for the functions in FILE: OpenAPI, the JSON Schema of a query, or published schemas.",
)
@click.option(
    "--from-python",
    "target",
    metavar="MODULE:FUNCTION",
    help="Print a cm.toml for a Python function from its type hints; python3 imports "
    "it. Use it in a folder that `cm-exec init --from-python` has written.",
)
def command(path: str, *, pretty: bool, description: Path | None, target: str | None) -> None:
    """Print the published function schemas, byte for byte as `run` posts them.

    `cm-exec schema --config`, without a path, prints the JSON Schema of cm.toml, for editors. `cm-exec schema --from
    FILE` generates a cm.toml from an existing JSON description of your functions; the operations of an OpenAPI document
    become functions of an HTTP service.
    """
    if description is not None:
        _print_described(description)
    elif target is not None:
        _print_hinted(target)
    elif path == _NO_PATH:
        _print_json_schema()
    else:
        _print_published(Path(path), pretty=pretty)


def _print_published(path: Path, *, pretty: bool) -> None:
    body = schemas_body(function.schema for function in load_config(path).functions.values())
    if pretty:
        body = msgspec.json.format(body, indent=2)
    click.echo(body, nl=pretty or sys.stdout.isatty())


def _print_json_schema() -> None:
    from cm_exec.config.schema.json_schema import cm_toml_schema_text  # noqa: PLC0415 - only this needs it

    click.echo(cm_toml_schema_text(), nl=False)


def _print_described(description: Path) -> None:
    from cm_exec.importers import import_toml  # noqa: PLC0415 - see above

    try:
        content = read_file(description)
    except OSError as error:
        raise click.BadParameter(f"{description}: {error.strerror}", param_hint="--from") from None
    _print_block("--from", str(description), lambda: import_toml(content, description.name.partition(".")[0]))


def _print_hinted(target: str) -> None:
    from cm_exec.importers import PYTHON_HANDLER, import_python_toml  # noqa: PLC0415 - see above

    if not all(target.partition(":")):
        raise click.BadParameter("expected MODULE:FUNCTION, such as app.handlers:double", param_hint="--from-python")
    _print_block("--from-python", target, lambda: import_python_toml(target, "python3"))
    if not Path(PYTHON_HANDLER).exists():
        click.echo(f"cm-exec: note: `cm-exec init --from-python {target}` writes {PYTHON_HANDLER}", err=True)


def _print_block(option: str, source: str, read: Callable[[], tuple[str, list[str]]]) -> None:
    from cm_exec.importers.declarations import DescriptionError  # noqa: PLC0415 - see above

    try:
        text, notes = read()
    except DescriptionError as error:
        raise click.BadParameter(f"{source}: {error}", param_hint=option) from None
    click.echo(text, nl=False)
    for note in notes:
        click.echo(f"cm-exec: note: {note}", err=True)
