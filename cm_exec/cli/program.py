"""The `cm-exec` program: its commands, loaded when they are called, and the place where errors become exit codes."""

import errno
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cm_exec import __version__
from cm_exec.errors import ExhaustedError, exit_code_of
from cm_exec.processes.launcher import prepare_process

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

gc.disable()  # GC during imports takes 20 % of start-up and frees nothing

COMMANDS: Final = {
    "init": "Create a project with a working function: cm.toml, a handler, tests, a Dockerfile.",
    "run": "Run the worker: the container's entry point, and the default command.",
    "invoke": "Run one query through a function, without a runtime.",
    "ready": "Exit with status 0 if the worker of this container polls: a readiness probe.",
    "check": "Check cm.toml and the programs that it names.",
    "test": "Run the tests of cm.toml.",
    "dev": "Run the functions on a local runtime, with a web console.",
    "conform": "Check that any worker keeps the compute module protocol.",
    "bench": "Measure the functions in each mode, on a local runtime.",
    "schema": "Print the published function schemas; with --config alone, the JSON Schema of cm.toml.",
}

VARIABLES: Final = frozenset(
    {
        "CM_EXEC_CONCURRENCY",
        "CM_EXEC_CONFIG",
        "CM_EXEC_DEV_URL",
        "CM_EXEC_DRAIN_TIMEOUT",
        "CM_EXEC_LOG_FORMAT",
        "CM_EXEC_LOG_LEVEL",
        "CM_EXEC_TLS_SERVER_NAME",
        "CM_EXEC_WAIT_FOR_SERVICES",
    }
)
"""The environment variables of all options; a test compares them with the commands."""

_PREFIX: Final = "CM_EXEC_"
_BUG: Final = 1
_OUTPUT_LOST: Final = 1
_INTERRUPTED: Final = 130
_READER_GONE: Final = 141
"""128 + SIGPIPE, as the shell reports it for other programs."""


class LazyGroup(click.Group):
    """Imports a command's module only when the command is called; the default command is `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table, as people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with its options."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"cm_exec.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. Fails for an unknown one with the nearest name."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            from cm_exec.text import did_you_mean  # noqa: PLC0415 - only an error needs it

            hint = did_you_mean(args[0], COMMANDS, otherwise="the commands are", quote=repr)
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table itself: help for all commands imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `run` if no command is named, except in a completion; accept --config before the command."""
        args = _config_behind_command(args)
        of_the_program = {"--help", "-h", "--version"}
        has_command = bool(args) and (not args[0].startswith("-") or args[0] in of_the_program)
        if not has_command and (args or not ctx.resilient_parsing):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem[str]"]:
        """Propose the commands of the table, since click would import them all, and the options of `run`."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only a TAB needs it

        if not incomplete.startswith("-"):
            return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        own = click.Command.shell_complete(self, ctx, incomplete)
        run = self.get_command(ctx, "run")
        of_run = run.shell_complete(click.Context(run, parent=ctx), incomplete) if run else []
        return [*own, *(item for item in of_run if item.value not in {each.value for each in own})]


def _config_behind_command(args: list[str]) -> list[str]:
    """Move `--config PATH` from before a command behind it, where click expects it."""
    taken = 0
    if args and args[0] in {"--config", "-c"}:
        taken = 2
    elif args and args[0].startswith("--config="):
        taken = 1
    if taken and len(args) > taken and args[taken] in COMMANDS:
        return [args[taken], *args[:taken], *args[taken + 1 :]]
    return args


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a bug or lost output, 2 usage, 3 invalid cm.toml, 4 missing or invalid runtime "
    "settings, 5 rejected by the runtime. Run `cm-exec COMMAND --help` for details.",
)
@click.version_option(__version__, prog_name="cm-exec", message="%(prog)s %(version)s")
def program() -> None:
    """Run any executable as a Palantir Foundry compute module.

    cm-exec reads cm.toml, which maps each function to a command. It polls the compute module runtime for jobs, passes
    each job's query to the command on stdin, and posts the command's stdout as the result.
    """
    gc.freeze()
    gc.enable()


class LostOutputError(OSError):
    """Raised when stdout or stderr cannot be written."""


class OutputFile(io.FileIO):
    """A standard stream's descriptor that remembers why output was lost, and is not closed."""

    lost: OSError | None = None

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, data: Any, /) -> int:
        """Write some of the data. Raises LostOutputError."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = error
            raise LostOutputError(str(error)) from None  # without errno, which click would handle itself


def main(*arguments: Any) -> None:
    """Run the program and exit with its code; no user mistake shows a traceback."""
    try:
        code = _main(arguments)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter may take a while to exit
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _main(arguments: tuple[Any, ...]) -> int:
    prepare_process()
    files = {name: OutputFile(descriptor) for descriptor, name in ((1, "stdout"), (2, "stderr"))}
    sys.stdout, sys.stderr = (_text_stream(file) for file in files.values())
    for warning in _misspelt_variables():
        _report(f"warning: {warning}")
    code = _run(list(arguments) or None)
    for name, file in files.items():
        with suppress(OSError):
            getattr(sys, name).flush()
        if file.lost is None:
            continue
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # the interpreter flushes again when it exits
        if file.lost.errno == errno.EPIPE:
            code = code or _READER_GONE
        else:
            _report(f"cannot write to {name}: {file.lost.strerror}")
            code = code or _OUTPUT_LOST
    return code


def _text_stream(file: OutputFile) -> io.TextIOWrapper:
    """Open a text stream like Python's own, with escapes for characters that the encoding lacks."""
    before = sys.stdout if file.fileno() == 1 else sys.stderr
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=file.isatty() or file.fileno() != 1,
    )


def _run(arguments: list[str] | None) -> int:  # noqa: PLR0911 - one for each kind of end
    """Run the program and return its exit code."""
    try:
        program.main(arguments, prog_name="cm-exec", standalone_mode=False)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except LostOutputError:
        return 0  # main reports it
    except Exception as error:  # noqa: BLE001 - whatever it is ends here, as text and an exit code
        code = exit_code_of(error)
        if code is not None:
            _report(str(error))
            return code
        if (problem := _system_problem(error)) is not None:
            sys.unraisablehook = lambda _: None  # a half-made event loop would report its end
            _report(problem)
            return ExhaustedError.exit_code
        with suppress(OSError):
            sys.excepthook(type(error), error, error.__traceback__)
        _report("this is a bug in cm-exec; please report it with the lines above")
        return _BUG
    return 0


_NO_ROOM: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
)


def _system_problem(error: Exception) -> str | None:  # noqa: PLR0911 - one for each thing that can be missing
    """Say what the system lacks, if that has caused the error; None for a bug."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no thread can be started: memory is used up, or the limit of processes is reached (ulimit -u)"
    if not isinstance(error, OSError):
        return None
    if error.errno in _NO_ROOM:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{(error.strerror or str(error)).lower()}"
    if isinstance(error, FileNotFoundError) and error.filename is None:
        if "temporary directory" in str(error):
            return "there is no folder for temporary files that can be written; set TMPDIR to one"
        try:
            Path.cwd()
        except FileNotFoundError:
            return "the current folder does not exist any more; change to another one"
    return None


def _report(message: str) -> None:
    with suppress(OSError):
        click.echo(f"cm-exec: {message}", err=True)


def _misspelt_variables() -> Iterator[str]:
    """Describe variables that look like a setting and are none; others can belong to somebody else."""
    for name in sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in VARIABLES):
        from cm_exec.text import closest_match  # noqa: PLC0415 - only an error needs it

        settings = {known.removeprefix(_PREFIX) for known in VARIABLES}
        if match := closest_match(name.removeprefix(_PREFIX), settings):
            yield f"there is no variable {name}; did you mean {_PREFIX}{match}?"
