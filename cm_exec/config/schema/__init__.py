"""The shape of a cm.toml as data: one struct per table, and the type of each key declares what it accepts.

Parser, defaults, error messages, the JSON Schema, the reference page and the man page follow from these types.
`key_doc` gives the title, description and examples of a key, `key_hint` the words of an error message for its type.
"""

from cm_exec.config.schema.file import FieldTable, File, FunctionTestTable, InputTable, LauncherTable, ReturnsTable
from cm_exec.config.schema.functions import FunctionEntry, FunctionOptions, FunctionTable, ServiceOptions, ServiceTable
from cm_exec.config.schema.keys import JSON_WORDS, MAX_SLOTS, TYPE_WORDS, FunctionName, MemberName

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
    "ServiceOptions",
    "ServiceTable",
]
