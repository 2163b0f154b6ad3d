"""`cm-exec check`: whether cm.toml and the programs that it names are as they should be."""

from pathlib import Path

import click

from cm_exec.cli.options import config_option
from cm_exec.cli.words import count_text
from cm_exec.config import Config, ConfigError, load_config
from cm_exec.function_tests.cases import file_problems
from cm_exec.preflight.command import Checked, check_function


class UnresolvedError(Exception):
    """cm.toml is well formed and names what is not there."""

    exit_code = ConfigError.exit_code


@click.command(name="check")
@config_option
@click.option("--image-rules", is_flag=True, help="In an image: say which of Foundry's rules for images it breaks.")
@click.option(
    "--ignore",
    "ignored",
    metavar="RULE",
    multiple=True,
    help="With --image-rules, a rule that is broken on purpose; repeatable.",
)
def command(config_path: Path, *, image_rules: bool, ignored: tuple[str, ...]) -> None:
    """Check cm.toml, look for each function's program, and print what would run.

    All mistakes are listed; the exit code is 3 if there is one. With --image-rules the image is checked as well, as
    far as that can be done from inside it: `docker run --rm IMAGE check --image-rules`.
    """
    if image_rules:
        from cm_exec.preflight.image import check_image  # noqa: PLC0415 - only this needs it

        check_image(config_path, ignored)
        return
    if ignored:
        raise click.UsageError("--ignore is for --image-rules")
    config = load_config(config_path)
    checked = [check_function(function) for function in config.functions.values()]
    click.echo(_table(config, checked))
    wrong = [f"{config_path}: functions.{c.function.name}: {c.problem}" for c in checked if c.problem]
    wrong += [f"{config_path}: {problem}" for problem in file_problems(config.tests)]
    if wrong:
        raise UnresolvedError("\n".join(wrong))
    tests = f"; {count_text(len(config.tests), 'test')} for cm-exec test" if config.tests else ""
    click.echo(f"{config_path}: {count_text(len(checked), 'function')}, all can be started{tests}")


def _table(config: Config, checked: list[Checked]) -> str:
    head = ("FUNCTION", "PROGRAM", "TIMEOUT", "MAX OUTPUT", "OUTPUT", "AT A TIME")
    slots = config.launcher.concurrency
    rows = [head, *(_row(c, str(slots) if slots else "all slots") for c in checked)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(checked: Checked, slots: str) -> tuple[str, ...]:
    function = checked.function
    return (
        function.name,
        checked.program if not checked.problem else "NOT FOUND",
        f"{function.timeout:g} s" if function.timeout else "none",
        _size(function.max_output),
        function.output,
        str(function.max_concurrency) if function.max_concurrency else slots,
    )


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % factor == 0 and size:
            return f"{size // factor} {unit}"
    return f"{size} B"
