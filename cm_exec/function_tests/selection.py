"""Which tests are meant."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from cm_exec.config import Config
from cm_exec.config.function_test import FunctionTest
from cm_exec.protocol.nearest import nearest

_NONE: Final = """there is no test in {path}. Write one into it, such as

  [[tests]]
  function = {function}
  query = {{ x = 1 }}    # or query_json = '...', or query_file = "query.json"
  result = {{ x = 2 }}   # or result_file = "result.json", or error = "exit", ..."""


def chosen(config: Config, names: Sequence[str], shown_as: Path) -> list[FunctionTest]:
    """The tests that the names mean, in the order of the file; without names all.

    A name is that of a function, or else a part of what a test is called, in any case of letters. `shown_as` is how
    the user called cm.toml. Raises click.UsageError where there is no test.
    """
    if not config.tests:
        function = json.dumps(next(iter(config.functions)), ensure_ascii=False)
        raise click.UsageError(_NONE.format(path=shown_as, function=function))
    wanted = {test.at for name in names for test in _meant(config, name)}
    return [test for test in config.tests if not names or test.at in wanted]


def _meant(config: Config, name: str) -> list[FunctionTest]:
    of_function = [test for test in config.tests if test.function == name]
    if of_function or name in config.functions:
        meant = of_function
        problem = f"the function {name!r} has no test"
    else:
        meant = [test for test in config.tests if name.lower() in test.title.lower()]
        near = nearest(name, [*config.functions, *(test.title for test in config.tests)])
        problem = f"no function and no test is called {name!r}" + (f"; did you mean {near!r}?" if near else "")
    if not meant:
        raise click.BadParameter(problem, param_hint="NAME")
    return meant
