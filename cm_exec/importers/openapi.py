"""Functions from OpenAPI 3: one for each operation, with its parameters and the body's members as inputs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cm_exec.importers.declarations import Declarations, DeclaredFunction, DescriptionError, Member
from cm_exec.importers.json_schema import Schema, SchemaReader, items, text_of

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_JSON: Final = re.compile(r"application/(?:[\w.-]+\+)?json(?:;.*)?")


def from_openapi(document: Schema) -> Declarations:
    """The operations of an OpenAPI document. Raises DescriptionError."""
    if not str(document["openapi"]).startswith("3"):
        raise DescriptionError(f"OpenAPI {document['openapi']}: expected version 3")
    declarations = Declarations()
    reader = _Reader(document, declarations)
    declarations.functions.extend(reader.functions())
    if not declarations.functions:
        raise DescriptionError("it has no operations")
    return declarations


class _Reader:
    """Reads the operations of one document."""

    def __init__(self, document: Schema, declarations: Declarations) -> None:
        self._document = document
        self._declarations = declarations
        self._schemas = SchemaReader(document, declarations)

    def functions(self) -> Iterator[DeclaredFunction]:
        """Every operation, in the order of the document."""
        known = set[str]()
        for path, item in _mapping(self._document.get("paths")).items():
            whole = self._schemas.resolved(_mapping(item))
            for method in _METHODS:
                if isinstance(whole.get(method), Mapping):
                    function = self._function(path, method, whole)
                    if function.name in known:
                        raise DescriptionError(f"two operations are called {function.name}")
                    known.add(function.name)
                    yield function

    def _function(self, path: str, method: str, item: Schema) -> DeclaredFunction:
        operation = item[method]
        name = str(operation.get("operationId") or method + re.sub(r"\W+", "_", path).rstrip("_"))
        returns, description = self._returns(operation, name)
        summary = operation.get("summary")
        return DeclaredFunction(
            name=name,
            description=text_of(operation) or (summary if isinstance(summary, str) and summary.strip() else None),
            inputs=tuple(self._inputs(item, operation, name)),
            returns=returns,
            returns_description=description,
        )

    def _inputs(self, item: Schema, operation: Schema, name: str) -> Iterator[Member]:
        parameters = {each.name: each for each in self._parameters(item, operation, name)}
        yield from parameters.values()
        yield from self._body(operation, name, parameters)

    def _parameters(self, item: Schema, operation: Schema, name: str) -> Iterator[Member]:
        both = [*items(item, "parameters"), *items(operation, "parameters")]
        parameters = [self._schemas.resolved(each) for each in both if isinstance(each, Mapping)]
        for each in {(str(each.get("in")), str(each.get("name"))): each for each in parameters}.values():
            if each.get("in") not in {"path", "query"}:
                self._declarations.notes.append(f"{name}: the {each.get('in')} {each.get('name')} is left out")
                continue
            schema = each.get("schema") or _json_schema(each) or {}
            as_object = {
                "properties": {each["name"]: schema},
                "required": [each["name"]] if each.get("required") else [],
            }
            (member,) = self._schemas.members(as_object, name, with_range=True)
            yield Member(
                name=member.name,
                type=member.type,
                description=text_of(each) or member.description,
                min=member.min,
                max=member.max,
            )

    def _body(self, operation: Schema, name: str, parameters: Mapping[str, Member]) -> Iterator[Member]:
        """The body's members, or the body itself where it is no object or has a member that a parameter is called."""
        body = self._schemas.resolved(_mapping(operation.get("requestBody")))
        schema = _json_schema(body)
        if schema is None:
            if body:
                self._declarations.notes.append(f"{name}: the body is left out, it is no JSON")
            return
        whole = self._schemas.whole(schema)
        if whole.get("properties") and not whole["properties"].keys() & parameters.keys():
            yield from self._schemas.members(whole, name, with_range=True)
            return
        if "body" in parameters:
            raise DescriptionError(f"{name}: a parameter is called body, and there is a body")
        type_ = self._schemas.type(schema, f"{name}.body")
        yield Member(name="body", type=type_ if body.get("required") is True else self._schemas.optional(type_))

    def _returns(self, operation: Schema, name: str) -> tuple[str, str | None]:
        responses = _mapping(operation.get("responses"))
        good = next((key for key in responses if str(key).startswith("2")), "default")
        response = self._schemas.resolved(_mapping(responses.get(good)))
        schema = _json_schema(response)
        if schema is not None:
            return self._schemas.type(schema, f"{name}.returns"), text_of(response)
        return ("binary", text_of(response)) if response.get("content") else ("void", None)


def _json_schema(described: Schema) -> Schema | None:
    """The schema of what is described, where it is JSON."""
    for kind, content in _mapping(described.get("content")).items():
        if _JSON.fullmatch(kind):
            return _mapping(_mapping(content).get("schema"))
    return None


def _mapping(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else {}
