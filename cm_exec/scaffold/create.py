"""`cm-exec init`: write a planned project or add a function to an existing one, and report what comes next."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import msgspec

from cm_exec.config.load import parse_config
from cm_exec.config.schema.keys import FunctionName
from cm_exec.errors import ConfigError
from cm_exec.importers import PYTHON_HANDLER
from cm_exec.scaffold import ANY_LANGUAGE, EXAMPLES, LANGUAGES, Language, filled, read_folder, read_part
from cm_exec.scaffold.project import (
    ProjectArgs,
    ProjectPlan,
    function_tests,
    greeting_values,
    handler_shape,
    plan_example,
    plan_greeting,
    plan_python_target,
    python_block,
)


class ProjectFilesError(Exception):
    """Raised when the files of a project cannot be written. The text says why."""


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files, with the folders that they need. Raises ProjectFilesError, and leaves nothing behind then."""
    made: list[Path] = []
    try:
        for name, text in files.items():
            path = folder / name
            missing = [each for each in path.parents if not os.path.exists(each)]
            for each in reversed(missing):
                each.mkdir()
                made.append(each)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except BaseException as error:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise ProjectFilesError(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
        raise


_IMAGE: Final = re.compile(r"[A-Za-z0-9][\w./:@-]*")


def create_project(args: ProjectArgs, *, target: str | None, example: str | None) -> None:
    """Write a project, with a handler from a template or for the Python `target`. Raises click.UsageError."""
    if not _IMAGE.fullmatch(args.base_image):
        message = f"expected an image such as registry.example.org/cm-exec-base:1, found {args.base_image!r}"
        raise click.BadParameter(message, param_hint="--base-image")
    if args.mode == "service" and target is None and not args.language.has_service:
        names = ", ".join(language.name for language in LANGUAGES.values() if language.has_service)
        message = f"there is no service template for {args.language.name}; there is one for {names}"
        raise click.BadParameter(message, param_hint="--mode")
    if example is not None:
        plan = plan_example(args, example)
    else:
        plan = plan_greeting(args) if target is None else plan_python_target(args, target)
    kept = _kept_files(args, plan, target)
    files = {name: text for name, text in plan.files.items() if name not in kept}
    try:
        write_files(args.directory, files)
    except ProjectFilesError as error:
        raise click.BadParameter(str(error), param_hint="DIRECTORY") from None
    click.echo("\n".join(_report(args, plan, written=list(files), kept=kept)))
    for note in plan.notes:
        click.echo(f"cm-exec: note: {note}", err=True)
    for tool in (*args.language.tools, *(EXAMPLES[example][1] if example else ())):
        if not tool.is_installed:
            click.echo(f"cm-exec: note: {tool.name} is not installed: {tool.how_to_get}", err=True)


def check_name(name: str, option: str) -> None:
    """Raise click.BadParameter if a function cannot have this name."""
    try:
        msgspec.convert(name, FunctionName)
        name.encode()
    except (msgspec.ValidationError, UnicodeEncodeError):
        message = "expected a function's name: not empty, UTF-8, no control characters"
        raise click.BadParameter(message, param_hint=option) from None


def _kept_files(args: ProjectArgs, plan: ProjectPlan, target: str | None) -> list[str]:
    """Return the files that exist and stay as they are. Raises click.BadParameter for one that may not exist."""
    existing = [name for name in plan.files if os.path.lexists(args.directory / name)]
    taken = [name for name in existing if name not in plan.may_exist]
    if not taken:
        return existing
    names = " and ".join(filter(None, [", ".join(taken[:-1]), taken[-1]]))
    verb = "exists" if len(taken) == 1 else "exist"
    message = f"{names} already {verb} in {args.directory}; nothing was written"
    remedy = "choose another directory, or remove what exists"
    if "cm.toml" in taken:
        option = f" --from-python {target}{'' if ':' in target else ':FUNCTION'}" if target else ""
        remedy = f"to add a function to that cm.toml: cm-exec init --add NAME{option}; else {remedy}"
    raise click.BadParameter(f"{message}; {remedy}", param_hint="DIRECTORY")


def _report(args: ProjectArgs, plan: ProjectPlan, *, written: Sequence[str], kept: Sequence[str]) -> Iterator[str]:
    """Yield the lines that say what was written, and what to do next."""
    yield f"Wrote the function {plan.function!r} in {args.language.title} to {args.directory}:"
    yield from _columns([(name, plan.about.get(name, "")) for name in written])
    if kept:
        yield f"Left as it was: {', '.join(kept)}"
    yield from ("", "Next:")
    yield from _columns(list(_next_steps(args, plan)))
    yield ""
    yield "A second function: cm-exec init --add NAME."
    if "cm_handler.py" not in plan.files:
        others = ", ".join(name for name in LANGUAGES if name != args.language.name)
        yield f"Another language: cm-exec init --lang NAME, with {others}."
        yield f"{ANY_LANGUAGE}."


def _next_steps(args: ProjectArgs, plan: ProjectPlan) -> Iterator[tuple[str, str]]:
    if args.directory != Path():
        yield f"cd {shlex.quote(str(args.directory))}", ""
    built = args.language.needs_build
    if built:
        yield "make build", "compile or install what the handler needs"
    if "requirements.txt" in plan.files:
        yield "python3 -m pip install -r requirements.txt", "install what the handler needs, in a virtual environment"
    yield "cm-exec test", "run the tests of cm.toml"
    yield f"cm-exec invoke {shlex.quote(plan.function)} --query-file query.json", "one query"
    change = "after `make build` a change" if built else "a saved change"
    yield f"cm-exec {args.language.dev}", f"call it in a browser; {change} takes effect (needs cm-exec[dev])"
    yield "make image", f"the image for Foundry; it takes cm-exec from {args.base_image}"


def _columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(left) for left, _ in rows)
    return (f"  {left:{width}}  {right}".rstrip() for left, right in rows)


_ADD_OPTION: Final = "--add"
_CONFIG_FILE: Final = "cm.toml"


def add_function(args: ProjectArgs, name: str, target: str | None) -> None:
    """Append the function to cm.toml, write its handler, and print what was done. Raises click.BadParameter.

    With `target` the function is an existing one in Python, and no handler is written.
    """
    path = args.directory / _CONFIG_FILE
    try:
        before = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "there is none" if isinstance(error, FileNotFoundError) else str(error)
        message = f"it adds a function to {path}, and {why}; create a project first: cm-exec init {args.directory}"
        raise click.BadParameter(message, param_hint=_ADD_OPTION) from None
    handler, block, notes = _planned_function(args, name, target)
    after = f"{before.rstrip()}\n\n{block.strip()}\n"
    try:
        parse_config(after, path=path.absolute())
    except ConfigError as error:
        message = f"{path} would be invalid: {'; '.join(map(str, error.problems))}; nothing was written"
        raise click.BadParameter(message, param_hint=_ADD_OPTION) from None
    try:
        write_files(args.directory, handler)
        path.write_text(after, encoding="utf-8")
    except (ProjectFilesError, OSError) as error:
        raise click.BadParameter(str(error), param_hint=_ADD_OPTION) from None
    click.echo(f"Added the function {name!r} to {path}:")
    for file in handler:
        what = "calls it with its types" if file == PYTHON_HANDLER else "its handler; change it as you like"
        click.echo(f"  {file}  {what}")
    build = "make build && " if args.language.needs_build else ""
    click.echo(f"Next: {build}cm-exec test")
    for note in notes:
        click.echo(f"cm-exec: note: {note}", err=True)


def _planned_function(args: ProjectArgs, name: str, target: str | None) -> tuple[dict[str, str], str, list[str]]:
    """Return the handler's files, the text to append to cm.toml, and notes."""
    if target is not None:
        if ":" not in target:
            message = f"--add NAME adds one function: name the one in Python, too, such as {target}:{name}"
            raise click.BadParameter(message, param_hint="--from-python")
        block, functions, notes = python_block(replace(args, name=name), target)
        text = "\n".join([block, *(function_tests(function, block) for function in functions)])
        is_there = os.path.lexists(args.directory / PYTHON_HANDLER)
        files = {} if is_there else {PYTHON_HANDLER: read_part(f"function/{PYTHON_HANDLER}")}
        return files, text, notes
    language = args.language
    stem = _stem(name, language)
    values = greeting_values(language, args.mode, name, stem)
    ((_, text),) = read_folder(f"{language.name}/{handler_shape(args.mode)}", values)
    text = text.replace(f"class {language.stem} ", f"class {stem} ")  # Java's file and class have one name
    return {language.added.format(stem=stem): text}, filled(read_part("added/cm.toml.in"), values), []


def _stem(name: str, language: Language) -> str:
    """Derive the name of a program from the function's, as the language writes it."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()) or ["added"]
    if language.stem[0].isupper():
        words = [word.capitalize() for word in words]
    stem = ("" if language.stem[0].isupper() else "_").join(words)
    return stem if not stem[0].isdigit() else f"f{stem}"


def language_of(directory: Path) -> Language:
    """Return the language of a project by its handler, Python if none is recognised."""
    for language in LANGUAGES.values():
        if os.path.exists(directory / language.handler):
            return language
    return LANGUAGES["python"]
