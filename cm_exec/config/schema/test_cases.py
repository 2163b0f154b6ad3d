"""`[[tests]]`."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from cm_exec.config.model import FailureReason
from cm_exec.config.schema.keys import JSON_WORDS, FilePath, MemberName, Text, TimeLimit, key_doc, key_hint

_OTHER_QUERY: Final = "another key has the query"
_OTHER_EXPECTATION: Final = "another key has the expected outcome"


class FunctionTestTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[tests]]` table: a function, one query, and one expected outcome."""

    function: Annotated[
        str, key_hint("the name of a function"), key_doc("Function", "The function that is tested.", "double")
    ]
    name: (
        Annotated[
            MemberName,
            key_doc(
                "Name",
                "What is tested, in a few words; no other test of the function has the same name.",
                "doubles a number",
                default_text="the function and the number of its test",
            ),
        ]
        | UnsetType
    ) = UNSET
    query: Annotated[
        Any,
        key_hint(JSON_WORDS),
        key_doc(
            "Query",
            "The query as a TOML value, which is sent as JSON. TOML has no null: see query_json.",
            {"from": "EUR", "amounts": [10, 99.9]},
            default_text=_OTHER_QUERY,
        ),
    ] = UNSET
    query_json: (
        Annotated[
            Text,
            key_doc(
                "Query as JSON",
                "The query as JSON text, which is sent byte for byte.",
                '{"at": null}',
                default_text=_OTHER_QUERY,
            ),
        ]
        | UnsetType
    ) = UNSET
    query_file: (
        Annotated[
            FilePath,
            key_doc(
                "Query in a file",
                "A file with the query, which is sent byte for byte. Absolute, or relative to the folder of cm.toml.",
                "query.json",
                default_text=_OTHER_QUERY,
            ),
        ]
        | UnsetType
    ) = UNSET
    user_id: (
        Annotated[
            Text,
            key_doc("User", "The id of the caller, as the job's `userId`.", "alice", default_text="no user"),
        ]
        | UnsetType
    ) = UNSET
    result: Annotated[
        Any,
        key_hint(JSON_WORDS),
        key_doc(
            "Result",
            "The result as a TOML value, which is compared as JSON: the order of members does not matter, and 42 and "
            "42.0 are equal.",
            42,
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_json: (
        Annotated[
            Text,
            key_doc(
                "Result as JSON",
                "The result as JSON text, which is compared as JSON.",
                '{"at": null}',
                default_text=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    result_subset: Annotated[
        Any,
        key_hint(JSON_WORDS),
        key_doc(
            "Part of the result",
            "Like result, but an object may have further members. An array has exactly these items, in which objects "
            "may have further members.",
            {"total": 3},
            default_text=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_text: (
        Annotated[
            str,
            key_hint("a text in quotes"),
            key_doc("Result as text", "The result, byte for byte.", "HELLO\n", default_text=_OTHER_EXPECTATION),
        ]
        | UnsetType
    ) = UNSET
    result_file: (
        Annotated[
            FilePath,
            key_doc(
                "Result in a file",
                "A file with the result: compared as JSON if its name ends in .json, else byte for byte. Absolute, or "
                "relative to the folder of cm.toml.",
                "result.json",
                default_text=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    result_matches: (
        Annotated[
            str,
            key_hint("a regular expression in quotes"),
            key_doc(
                "Pattern of the result",
                "A Python regular expression that is found somewhere in the result; in its bytes if it is not UTF-8.",
                "^[0-9]+$",
                default_text=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    error: (
        Annotated[
            FailureReason,
            key_doc(
                "Error",
                "The job fails, with this reason in its error result.",
                "exit",
                default_text="any reason with error_contains, else the job must not fail",
            ),
        ]
        | UnsetType
    ) = UNSET
    error_contains: (
        Annotated[
            Text,
            key_doc(
                "Text of the error",
                "The job fails, and the message of its error result or what its command wrote to stderr contains this "
                "text.",
                "no such customer",
                default_text="any text with error, else the job must not fail",
            ),
        ]
        | UnsetType
    ) = UNSET
    tolerance: (
        Annotated[
            Annotated[float, Meta(ge=0)],
            key_hint("a number, 0 or more"),
            key_doc(
                "Tolerance",
                "How far a number in the result may be from the expected one, if it is compared as JSON.",
                0.001,
                default_text="0",
            ),
        ]
        | UnsetType
    ) = UNSET
    timeout: (
        Annotated[
            TimeLimit,
            key_doc(
                "Timeout",
                "Seconds that the job may take, instead of the function's timeout; 0 is no limit.",
                5,
                default_text="the timeout of the function",
            ),
        ]
        | UnsetType
    ) = UNSET
