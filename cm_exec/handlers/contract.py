"""What a function's declared types say of a query or a result, as the bytes that it is."""

from cm_exec.config.types import Function
from cm_exec.datatypes.check import Check, TypeMismatchError, checker
from cm_exec.protocol.function_schema import query_checker
from cm_exec.protocol.json_text import InvalidJsonError, decode_json


class Contract:
    """The checks of one function, made once. They only read: what is handed on stays as it came."""

    def __init__(self, function: Function) -> None:
        returns = function.returns
        self._query = None if function.inputs is None else query_checker(function.inputs)
        self._result = None if returns is None or returns.type is None else checker(returns.type)
        self._void = returns is not None and returns.type is None

    def query_problem(self, query: bytes) -> str | None:
        """Why the query does not fit `inputs`: the JSON path, what was expected, what kind of value was found.

        None where it fits, or where no inputs are declared. No value is shown: queries must not get into logs.
        """
        return None if self._query is None else _problem(query, self._query)

    def result_problem(self, result: bytes) -> str | None:
        """The same for the result and `returns`. A void function's result is nothing, or null."""
        if self._void and result.strip() not in {b"", b"null"}:
            return "expected nothing or null, found a result"
        return None if self._result is None else _problem(result, self._result)


def query_problem(function: Function, query: bytes) -> str | None:
    """See Contract; for one query."""
    return Contract(function).query_problem(query)


def result_problem(function: Function, result: bytes) -> str | None:
    """See Contract; for one result."""
    return Contract(function).result_problem(result)


def _problem(text: bytes, check: Check) -> str | None:
    try:
        check(decode_json(text))
    except InvalidJsonError as error:
        return f"expected JSON: {error}"
    except TypeMismatchError as mismatch:
        return str(mismatch)
    return None
