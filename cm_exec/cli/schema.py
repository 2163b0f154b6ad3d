"""`cm-exec schema`: what is published of the functions, and the JSON Schema of cm.toml."""

import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from cm_exec.config import load_config
from cm_exec.config.json_schema import cm_toml_schema_text
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
@click.option("--pretty", is_flag=True, help="Indent the functions' schemas for people.")
def command(path: str, *, pretty: bool) -> None:
    """Print the functions' schemas, byte for byte as `run` posts them at start.

    `cm-exec schema --config`, with no path, prints the JSON Schema of cm.toml, for editors.
    """
    if path == _NO_PATH:
        click.echo(cm_toml_schema_text(), nl=False)
        return
    body = schemas_body(function.schema for function in load_config(Path(path)).functions.values())
    if pretty:
        body = msgspec.json.format(body, indent=2)
    click.echo(body, nl=pretty or sys.stdout.isatty())
