"""Errors of cm.toml have the line of their key."""

from pathlib import Path

import pytest

from cm_exec.config.load import LineIndex, parse_config
from cm_exec.config.validate import KeyPath
from cm_exec.errors import ConfigError

TEXT = '''\
# a comment = 1
defaults.timeout = 5
[functions]
double = "jq"
[functions."a.b"]
command = """
timeout = 3
[functions.inside]
"""
env = { A = "1",
  B = "2" }
'output' = "json"
[functions.c.inputs]
x = "string"
[[tests]]
function = "double"
[[tests]]
function = "a.b"
[tests.query]
n = 1
'''


@pytest.mark.parametrize(
    ("at", "line"),
    [
        (("defaults", "timeout"), 2),
        (("functions", "double"), 4),
        (("functions", "a.b"), 5),
        (("functions", "a.b", "command"), 6),
        (("functions", "a.b", "timeout"), 5),
        (("functions", "inside"), 3),
        (("functions", "a.b", "env", "B"), 10),
        (("functions", "a.b", "output"), 12),
        (("functions", "c"), 13),
        (("functions", "c", "inputs", "x"), 14),
        (("tests", 0, "function"), 16),
        (("tests", 1, "function"), 18),
        (("tests", 1, "query", "n"), 20),
        (("launcher",), None),
        ((), None),
    ],
)
def test_line(at: KeyPath, line: int | None) -> None:
    assert LineIndex(TEXT).find(at) == line


def test_errors_have_lines() -> None:
    text = '[functions.f]\ncommand = "cat"\ntimeout = "soon"\n\n[launcher]\nconcurency = 4\n'
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=Path("/srv/cm.toml"), shown_as=Path("cm.toml"))
    lines = sorted(str(caught.value).splitlines())
    assert [line.rpartition(" ")[2] for line in lines] == ["3)", "6)"]
    assert lines[1] == "cm.toml: launcher.concurency: unknown key; did you mean concurrency? (line 6)"
