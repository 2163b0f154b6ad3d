"""The shape of a cm.toml: one struct a table, and each key's type says what it takes.

The checks of `validate`, the defaults and the JSON Schema of cm.toml all come from these types. `title` and
`description` and `examples` go into the schema and the reference of the documentation; `extra["expected"]` is how an
error names what belongs there, `extra["unless_said"]` what holds where a key without a default is left out.
"""

from cm_exec.config.schema.file import File
from cm_exec.config.schema.functions import FunctionEntry, FunctionTable
from cm_exec.config.schema.keys import JSON_WORDS, MAX_SLOTS, TYPE_WORDS, FunctionName, MemberName
from cm_exec.config.schema.launcher import LauncherTable
from cm_exec.config.schema.options import FunctionOptions
from cm_exec.config.schema.signature import FieldTable, InputTable, ReturnsTable
from cm_exec.config.schema.test_cases import FunctionTestTable

__all__ = [
    "JSON_WORDS",
    "MAX_SLOTS",
    "TYPE_WORDS",
    "FieldTable",
    "File",
    "FunctionEntry",
    "FunctionName",
    "FunctionOptions",
    "FunctionTable",
    "FunctionTestTable",
    "InputTable",
    "LauncherTable",
    "MemberName",
    "ReturnsTable",
]
