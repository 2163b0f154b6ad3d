"""`[[tests]]`."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from cm_exec.config.model import FailureReason
from cm_exec.config.schema.keys import JSON_WORDS, MAX_SECONDS, FilePath, MemberName, Seconds, Text, about, expect

_OTHER_QUERY: Final = "another key has the query"
_OTHER_EXPECTATION: Final = "another key says what is expected"


class FunctionTestTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[tests]]` table: a function, one query, and one thing that is expected of what becomes of it."""

    function: Annotated[
        str,
        expect("the name of a function"),
        Meta(title="Function", description="The function that is tested.", examples=["double"]),
    ]
    name: (
        Annotated[
            MemberName,
            about(
                "Name",
                "What is tested, in a few words; no other test of the function has the same.",
                example="doubles a number",
                unless_said="the function and the number of its test",
            ),
        ]
        | UnsetType
    ) = UNSET
    query: Annotated[
        Any,
        expect(JSON_WORDS),
        about(
            "Query",
            "The query, as a value of TOML that is sent as JSON. TOML has no null: see query_json.",
            example={"from": "EUR", "amounts": [10, 99.9]},
            unless_said=_OTHER_QUERY,
        ),
    ] = UNSET
    query_json: (
        Annotated[
            Text,
            about(
                "Query as JSON",
                "The query, as JSON text that is sent byte for byte.",
                example='{"at": null}',
                unless_said=_OTHER_QUERY,
            ),
        ]
        | UnsetType
    ) = UNSET
    query_file: (
        Annotated[
            FilePath,
            about(
                "Query in a file",
                "A file with the query, which is sent byte for byte. Absolute, or relative to the folder of cm.toml.",
                example="query.json",
                unless_said=_OTHER_QUERY,
            ),
        ]
        | UnsetType
    ) = UNSET
    result: Annotated[
        Any,
        expect(JSON_WORDS),
        about(
            "Result",
            "The result, as a value of TOML that is compared as JSON: the order of members is free, 42 and 42.0 are "
            "the same number.",
            example=42,
            unless_said=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_json: (
        Annotated[
            Text,
            about(
                "Result as JSON",
                "The result, as JSON text that is compared as JSON.",
                example='{"at": null}',
                unless_said=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    result_subset: Annotated[
        Any,
        expect(JSON_WORDS),
        about(
            "Part of the result",
            "As result, but an object may have more members than are said here. An array has as many items as here, "
            "and may have such objects in it.",
            example={"total": 3},
            unless_said=_OTHER_EXPECTATION,
        ),
    ] = UNSET
    result_text: (
        Annotated[
            str,
            expect("a text in quotes"),
            about("Result as text", "The result, byte for byte.", example="HELLO\n", unless_said=_OTHER_EXPECTATION),
        ]
        | UnsetType
    ) = UNSET
    result_file: (
        Annotated[
            FilePath,
            about(
                "Result in a file",
                "A file with the result: compared as JSON if its name ends in .json, else byte for byte. Absolute, or "
                "relative to the folder of cm.toml.",
                example="result.json",
                unless_said=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    result_matches: (
        Annotated[
            str,
            expect("a regular expression in quotes"),
            about(
                "Pattern of the result",
                "A regular expression, as Python has them, that is found somewhere in the result; in its bytes where "
                "it is no UTF-8.",
                example="^[0-9]+$",
                unless_said=_OTHER_EXPECTATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    error: (
        Annotated[
            FailureReason,
            about(
                "Error",
                "The job fails, and this is the reason in its error result.",
                example="exit",
                unless_said="any reason with error_contains, else the job must not fail",
            ),
        ]
        | UnsetType
    ) = UNSET
    error_contains: (
        Annotated[
            Text,
            about(
                "Text of the error",
                "The job fails, and this stands in the sentence of its error result or in what its command wrote to "
                "stderr.",
                example="no such customer",
                unless_said="any text with error, else the job must not fail",
            ),
        ]
        | UnsetType
    ) = UNSET
    tolerance: (
        Annotated[
            Annotated[float, Meta(ge=0)],
            expect("a number, 0 or more"),
            about(
                "Tolerance",
                "How far a number in the result may be from the expected one, where it is compared as JSON.",
                example=0.001,
                unless_said="0",
            ),
        ]
        | UnsetType
    ) = UNSET
    timeout: (
        Annotated[
            Seconds,
            expect(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)"),
            about(
                "Timeout",
                "Seconds that the job may take, in place of the function's timeout; 0 is no limit.",
                example=5,
                unless_said="that of the function",
            ),
        ]
        | UnsetType
    ) = UNSET
