"""The `cm-exec` program: its commands, loaded when they are called, and its exit codes."""

import gc
import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from cm_exec import __version__
from cm_exec.errors import exit_code_of
from cm_exec.handlers.descriptors import reserve_result_fd

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

gc.disable()  # until the modules are there: what imports make stays, and looking it over is a fifth of the start

COMMANDS: Final = {
    "init": "Write a function that works at once: cm.toml, a handler, tests, a Dockerfile.",
    "run": "Work for the runtime: the container's entry point, and what happens with no command.",
    "invoke": "Run one query through a function, with no runtime.",
    "check": "Check cm.toml and the programs that it names.",
    "test": "Run the tests of cm.toml.",
    "dev": "Run the functions on a local runtime, with a web console.",
    "conform": "Check that any worker keeps the compute module protocol.",
    "bench": "Measure the functions in each mode, on a local runtime.",
    "schema": "Print what is published of the functions; with --config alone, the JSON Schema of cm.toml.",
}


class LazyGroup(click.Group):
    """Imports a command's module only when the command is called; with no command, it is `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of the table, as people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, with its options."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"cm_exec.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table itself: help for all commands needs none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` where no command is named; not where a completion asks for one."""
        of_the_program = {"--help", "-h", "--version"}
        is_said = bool(args) and (not args[0].startswith("-") or args[0] in of_the_program)
        if not is_said and (args or not ctx.resilient_parsing):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem[str]"]:
        """The commands from the table, since click would import them all; options are also those of `run`."""
        from cm_exec.cli.completion import matching_commands  # noqa: PLC0415 - only a TAB needs it

        if not incomplete.startswith("-"):
            return matching_commands(COMMANDS, incomplete)
        own = click.Command.shell_complete(self, ctx, incomplete)
        run = self.get_command(ctx, "run")
        of_run = run.shell_complete(click.Context(run, parent=ctx), incomplete) if run else []
        return [*own, *(item for item in of_run if item.value not in {each.value for each in own})]


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a bug, 2 usage, 3 bad cm.toml, 4 no or unusable runtime environment, "
    "5 the runtime refused for good. `cm-exec COMMAND --help` tells the rest.",
)
@click.version_option(__version__, prog_name="cm-exec", message="%(prog)s %(version)s")
def program() -> None:
    """Make any executable a Palantir Foundry compute module.

    cm-exec reads cm.toml, which maps each function to a command, asks the compute module runtime for jobs, gives
    each job's query to the command on stdin, and posts what the command writes to stdout as the result.
    """
    gc.freeze()
    gc.enable()


def main(*arguments: Any) -> None:
    """Run the program and exit with its code."""
    reserve_result_fd()
    try:
        program.main(list(arguments) or None, prog_name="cm-exec")
    except Exception as error:  # noqa: BLE001 - whatever it is ends here, as text and an exit code
        code = exit_code_of(error)
        if code is None:
            sys.excepthook(type(error), error, error.__traceback__)
            click.echo("cm-exec: this is a bug in cm-exec; please report it with the lines above", err=True)
            sys.exit(1)
        click.echo(f"cm-exec: {error}", err=True)
        sys.exit(code)
