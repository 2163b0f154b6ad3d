"""`cm-exec check`: checks cm.toml and the programs that it names."""

from collections.abc import Sequence
from pathlib import Path

import click

from cm_exec.cli.options import config_option
from cm_exec.config import Config
from cm_exec.config.load import load_config
from cm_exec.errors import PreflightError
from cm_exec.function_tests import file_problems
from cm_exec.preflight import CommandCheck, check_function
from cm_exec.text import count_text, size_text, table_lines


@click.command(name="check")
@config_option
@click.option("--image-rules", is_flag=True, help="In an image: report which of Foundry's rules for images it breaks.")
@click.option(
    "--ignore",
    "ignored",
    metavar="RULE",
    multiple=True,
    help="With --image-rules, a rule that is broken on purpose. Repeatable.",
)
def command(config_path: Path, *, image_rules: bool, ignored: tuple[str, ...]) -> None:
    """Check cm.toml, search for each function's program and script, and print what would run.

    Reports all errors, each with its remedy. The exit status is 3 if there are any. With --image-rules it checks the
    image as well, as far as that is possible from inside: `docker run --rm IMAGE check --image-rules`.
    """
    if image_rules:
        from cm_exec.preflight.image_rules import check_image  # noqa: PLC0415 - only this needs it

        check_image(config_path, ignored)
        return
    if ignored:
        raise click.UsageError("--ignore is for --image-rules")
    config = load_config(config_path)
    checks = [check_function(function) for function in config.functions.values()]
    click.echo(_table(config, checks))
    warnings = dict.fromkeys(f"{check.at}: {warning}" for check in checks for warning in check.warnings)
    for warning in warnings:
        click.echo(f"cm-exec: warning: {config_path}: {warning}", err=True)
    # the functions of a service have one problem in common
    wrong = [*dict.fromkeys(f"{config_path}: {c.at}: {c.problem}" for c in checks if c.problem)]
    wrong += [f"{config_path}: {problem}" for problem in file_problems(config.tests)]
    if wrong:
        raise PreflightError("\n".join(wrong))
    tests = f"; {count_text(len(config.tests), 'test')} for cm-exec test" if config.tests else ""
    click.echo(f"{config_path}: {count_text(len(checks), 'function')}, all can be started{tests}")


def _table(config: Config, checks: Sequence[CommandCheck]) -> str:
    slots = config.launcher.concurrency
    head = ("FUNCTION", "PROGRAM", "TIMEOUT", "MAX OUTPUT", "OUTPUT", "CONCURRENTLY")
    rows = [head, *(_row(check, str(slots) if slots else "all slots") for check in checks)]
    return "\n".join(table_lines(rows))


def _row(check: CommandCheck, slots: str) -> tuple[str, ...]:
    function = check.function
    return (
        function.name,
        check.problem.state if check.problem else check.program,
        f"{function.timeout:g} s" if function.timeout else "none",
        size_text(function.max_output),
        function.output,
        str(function.max_concurrency) if function.max_concurrency else slots,
    )
