"""`cm-exec init --add NAME`: adds a function to an existing project."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError
from cm_exec.scaffold.files import ProjectFilesError, write_files
from cm_exec.scaffold.languages import LANGUAGES, Language
from cm_exec.scaffold.project import ProjectArgs, greeting_values, handler_shape, needs_build
from cm_exec.scaffold.python_function import function_tests, python_block
from cm_exec.scaffold.templates import filled, read_folder, read_part

_OPTION: Final = "--add"
_CONFIG: Final = "cm.toml"


def add_function(args: ProjectArgs, name: str, target: str | None) -> None:
    """Append the function to cm.toml, write its handler, and print what was done. Raises click.BadParameter.

    With `target` the function is an existing one in Python, and no handler is written.
    """
    path = args.directory / _CONFIG
    try:
        before = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "there is none" if isinstance(error, FileNotFoundError) else str(error)
        message = f"it adds a function to {path}, and {why}; create a project first: cm-exec init {args.directory}"
        raise click.BadParameter(message, param_hint=_OPTION) from None
    handler, block = _planned(args, name, target)
    after = f"{before.rstrip()}\n\n{block.strip()}\n"
    try:
        parse_config(after, path=path.absolute())
    except ConfigError as error:
        message = f"{path} would be invalid: {'; '.join(map(str, error.problems))}; nothing was written"
        raise click.BadParameter(message, param_hint=_OPTION) from None
    try:
        write_files(args.directory, handler)
        path.write_text(after, encoding="utf-8")
    except (ProjectFilesError, OSError) as error:
        raise click.BadParameter(str(error), param_hint=_OPTION) from None
    click.echo(f"Added the function {name!r} to {path}:")
    for file in handler:
        click.echo(f"  {file}  its handler; change it as you like")
    build = "make build && " if needs_build(args.language) else ""
    click.echo(f"Next: {build}cm-exec test")


def _planned(args: ProjectArgs, name: str, target: str | None) -> tuple[dict[str, str], str]:
    """Return the handler's files and the text to append to cm.toml."""
    if target is not None:
        block, functions, _ = python_block(replace(args, name=name), target)
        return {}, "\n".join([block, *(function_tests(function, block) for function in functions)])
    language = args.language
    stem = _stem(name, language)
    values = greeting_values(language, args.mode, name, stem)
    ((_, text),) = read_folder(f"{language.name}/{handler_shape(args.mode)}", values)
    text = text.replace(f"class {language.stem} ", f"class {stem} ")  # Java's file and class have one name
    return {language.added.format(stem=stem): text}, filled(read_part("added/cm.toml.in"), values)


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
        if (directory / language.handler).exists():
            return language
    return LANGUAGES["python"]
