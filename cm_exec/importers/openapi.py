"""Import functions from OpenAPI 3: one per operation of a server, which becomes an HTTP service."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from cm_exec.importers.declarations import (
    Declarations,
    DeclaredFunction,
    DeclaredService,
    DescriptionError,
    Member,
)
from cm_exec.importers.json_schema import Schema, SchemaReader, items, mapping, text_of

_METHODS: Final = ("get", "put", "post", "delete", "patch")
_METHODS_LEFT_OUT: Final = ("options", "head", "trace")
_JSON: Final = re.compile(r"application/(?:[\w.-]+\+)?json(?:;.*)?")
_SERVICE: Final = "api"
_PORT: Final = 8000
_PATH_CHARACTERS: Final = "/{}!$&'()*+,;=:@%"
_COMMENTS: Final = (
    "Set the port at which the server listens. With its command, cm-exec starts it:",
    'command = ["uvicorn", "main:app", "--port", "8000"]',
    "Without a command something else starts it, such as another container of the replica.",
)


def from_openapi(document: Schema) -> Declarations:
    """Return the operations of an OpenAPI document. Raises DescriptionError."""
    if not str(document["openapi"]).startswith("3"):
        raise DescriptionError(f"OpenAPI {document['openapi']}: expected version 3")
    url, base = _server(document)
    service = DeclaredService(name=_SERVICE, options={"protocol": "http", "url": url}, comments=_COMMENTS)
    declarations = Declarations(services=[service])
    declarations.functions.extend(_OpenApiReader(document, base, declarations).functions())
    if not declarations.functions:
        raise DescriptionError("it has no operations")
    return declarations


def _server(document: Schema) -> tuple[str, str]:
    """Return a URL for the server on this machine, and the path before those of the operations."""
    server = next((each for each in items(document, "servers") if isinstance(each, Mapping)), {})
    try:
        url = urlsplit(str(server.get("url", "")))
        port = url.port or _PORT
    except ValueError:
        return f"http://127.0.0.1:{_PORT}", ""
    return f"http://127.0.0.1:{port}", quote(url.path.rstrip("/"), safe=_PATH_CHARACTERS)


class _OpenApiReader:
    """Reads the operations of one document."""

    def __init__(self, document: Schema, base: str, declarations: Declarations) -> None:
        self._document = document
        self._base = base
        self._declarations = declarations
        self._schemas = SchemaReader(document, declarations)

    def functions(self) -> Iterator[DeclaredFunction]:
        """Yield every operation, in the order of the document."""
        known = set[str]()
        paths = mapping(self._document, "paths")
        for path in paths:
            whole = self._schemas.resolved(mapping(paths, path))
            for method in (*_METHODS, *_METHODS_LEFT_OUT):
                if not isinstance(whole.get(method), Mapping):
                    continue
                if method in _METHODS_LEFT_OUT:
                    self._note(f"{method.upper()} {path} is left out: no job can be such a request")
                    continue
                function = self._function(path, method, whole)
                if function.name in known:
                    raise DescriptionError(f"two operations have the name {function.name}")
                known.add(function.name)
                yield function

    def _note(self, note: str) -> None:
        self._declarations.notes.append(note)

    def _function(self, path: str, method: str, item: Schema) -> DeclaredFunction:
        operation = item[method]
        name = str(operation.get("operationId") or method + re.sub(r"\W+", "_", path).rstrip("_"))
        request = f"{method.upper()} {self._base}{quote(path, safe=_PATH_CHARACTERS)}"
        options: dict[str, Any] = {"service": _SERVICE, "request": request}
        parameters = dict(self._parameters(item, operation, name))
        if query := [each for each, place in parameters.values() if place == "query"]:
            options["query"] = [member.name for member in query]
        inputs = {key: member for key, (member, _) in parameters.items()}
        body, is_whole = self._body(operation, name)
        if body and method in {"get", "delete"}:
            self._note(f"{name}: the body is left out: a {method.upper()} request has none")
        elif is_whole:
            if body[0].name in inputs:
                raise DescriptionError(f"{name}: a parameter is called {body[0].name}, and there is a body")
            options["body"] = body[0].name
            inputs[body[0].name] = body[0]
        else:
            inputs = {**inputs, **{member.name: member for member in body if member.name not in inputs}}
        returns, description = self._returns(operation, name)
        summary = operation.get("summary")
        return DeclaredFunction(
            name=name,
            description=text_of(operation) or (summary if isinstance(summary, str) and summary.strip() else None),
            inputs=tuple(inputs.values()),
            returns=returns,
            returns_description=description,
            options=options,
        )

    def _parameters(self, item: Schema, operation: Schema, name: str) -> Iterator[tuple[str, tuple[Member, str]]]:
        """Yield the parameters in path and query by name, each with its place."""
        both = [*items(item, "parameters"), *items(operation, "parameters")]
        parameters = [self._schemas.resolved(each) for each in both if isinstance(each, Mapping)]
        for each in {(str(each.get("in")), str(each.get("name"))): each for each in parameters}.values():
            place = str(each.get("in"))
            if place not in {"path", "query"}:
                self._note(f"{name}: the {place} {each.get('name')} is left out")
                continue
            schema = each.get("schema") or _json_schema(each) or {}
            as_object = {
                "properties": {each["name"]: schema},
                "required": [each["name"]] if each.get("required") else [],
            }
            (member,) = self._schemas.members(as_object, name, with_range=True)
            described = Member(
                name=member.name,
                type=member.type,
                description=text_of(each) or member.description,
                min=member.min,
                max=member.max,
            )
            yield member.name, (described, place)

    def _body(self, operation: Schema, name: str) -> tuple[list[Member], bool]:
        """Return the members of the body, or one member and True if the body is no object."""
        body = self._schemas.resolved(mapping(operation, "requestBody"))
        schema = _json_schema(body)
        if schema is None:
            if body:
                self._note(f"{name}: the body is left out: it is not JSON")
            return [], False
        whole = self._schemas.whole(schema)
        if whole.get("properties"):
            return list(self._schemas.members(whole, name, with_range=True)), False
        type_ = self._schemas.type(schema, f"{name}.body")
        is_required = body.get("required") is True
        return [Member(name="body", type=type_ if is_required else self._schemas.optional(type_))], True

    def _returns(self, operation: Schema, name: str) -> tuple[str, str | None]:
        responses = mapping(operation, "responses")
        good = next((key for key in responses if str(key).startswith("2")), "default")
        response = self._schemas.resolved(mapping(responses, good))
        schema = _json_schema(response)
        if schema is not None:
            return self._schemas.type(schema, f"{name}.returns"), text_of(response)
        return ("binary", text_of(response)) if response.get("content") else ("void", None)


def _json_schema(described: Schema) -> Schema | None:
    """Return the schema of a parameter, body or response, None if it is not JSON."""
    contents = mapping(described, "content")
    for kind in contents:
        if _JSON.fullmatch(kind):
            return mapping(mapping(contents, kind), "schema")
    return None
