"""Import functions from OpenAPI 3: one per operation of a server, which becomes an HTTP service."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit

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
_JSON: Final = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_TEXT: Final = re.compile(r"text/(?!event-stream).*", re.IGNORECASE)
_ANY: Final = re.compile(r"(?:\*|application)/\*")
_SERVICE: Final = "api"
_PORT: Final = 8000
_PATH_CHARACTERS: Final = "/{}!$&'()*+,;=:@%"
_IN_BRACES: Final = r"\{([^{}]+)\}"
_COMMENTS: Final = (
    "Set the port at which the server listens. With its command, cm-exec starts it:",
    'command = ["uvicorn", "main:app", "--port", "8000"]',
    "Without a command something else starts it, such as another container of the replica.",
)


def from_openapi(document: Schema) -> Declarations:
    """Return the operations of an OpenAPI document. Raises DescriptionError."""
    if not str(document["openapi"]).startswith("3"):
        raise DescriptionError(f"OpenAPI {document['openapi']}: expected version 3")
    options = {"protocol": "http", "url": f"http://127.0.0.1:{_server(document).port or _PORT}"}
    declarations = Declarations(services=[DeclaredService(name=_SERVICE, options=options, comments=_COMMENTS)])
    declarations.functions.extend(_OpenApiReader(document, declarations).functions())
    if not declarations.functions:
        raise DescriptionError("it has no operations")
    return declarations


def _server(*owners: Schema) -> SplitResult:
    """Return the URL of the first server of the first owner that has one, with its variables' defaults."""
    servers = (each for owner in owners for each in items(owner, "servers") if isinstance(each, Mapping))
    server = next(servers, {})
    variables = mapping(server, "variables")
    text = re.sub(
        _IN_BRACES, lambda name: str(mapping(variables, name[1]).get("default", "")), str(server.get("url", ""))
    )
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return urlsplit("")
    return url


class _OpenApiReader:
    """Reads the operations of one document."""

    def __init__(self, document: Schema, declarations: Declarations) -> None:
        self._document = document
        self._declarations = declarations
        self._schemas = SchemaReader(document, declarations)

    def functions(self) -> Iterator[DeclaredFunction]:
        """Yield every operation, in the order of the document."""
        operations = list(self._operations())
        known = set[str]()
        for _, item, method in operations:
            if (name := _own_name(item[method])) in known:
                raise DescriptionError(f"two operations have the name {name}")
            known |= {name} if name else set()
        for path, item, method in operations:
            name = _own_name(item[method]) or method + re.sub(r"\W+", "_", path).rstrip("_")
            while not _own_name(item[method]) and name in known:
                name += "_"
            known.add(name)
            yield self._function(name, path, method, item)

    def _operations(self) -> Iterator[tuple[str, Schema, str]]:
        """Yield the path, its item and the method of each operation that a job can be."""
        paths = mapping(self._document, "paths")
        for path in paths:
            item = self._schemas.resolved(mapping(paths, path))
            for method in (*_METHODS, *_METHODS_LEFT_OUT):
                if not isinstance(item.get(method), Mapping):
                    continue
                if method in _METHODS:
                    yield path, item, method
                else:
                    self._note(f"{method.upper()} {path} is left out: no job can be such a request")

    def _note(self, note: str) -> None:
        self._declarations.notes.append(note)

    def _function(self, name: str, path: str, method: str, item: Schema) -> DeclaredFunction:
        operation = item[method]
        base = _server(operation, item, self._document).path.rstrip("/")
        request = f"{method.upper()} {_quoted(base)}{_quoted(path)}"
        options: dict[str, Any] = {"service": _SERVICE, "request": request}
        parameters = dict(self._parameters(item, operation, name, re.findall(_IN_BRACES, path)))
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
            for member in body:
                if inputs.setdefault(member.name, member).type != member.type:
                    self._note(f"{name}: the parameter and the member {member.name} of the body are one input")
        returns, description = self._returns(operation, name, options)
        summary = operation.get("summary")
        return DeclaredFunction(
            name=name,
            description=text_of(operation) or (summary if isinstance(summary, str) and summary.strip() else None),
            inputs=tuple(inputs.values()),
            returns=returns,
            returns_description=description,
            options=options,
        )

    def _parameters(
        self, item: Schema, operation: Schema, name: str, in_path: Sequence[str]
    ) -> Iterator[tuple[str, tuple[Member, str]]]:
        """Yield the parameters in path and query by name, each with its place. `in_path` are the names in the path."""
        both = [*items(item, "parameters"), *items(operation, "parameters")]
        parameters = [self._schemas.resolved(each) for each in both if isinstance(each, Mapping)]
        for each in {(str(each.get("in")), str(each.get("name"))): each for each in parameters}.values():
            place, own_name = str(each.get("in")), str(each.get("name"))
            if place not in {"path", "query"} or (place == "path" and own_name not in in_path):
                self._note(f"{name}: the {place} {own_name} is left out{': it is not in the path' * (place == 'path')}")
                continue
            schema = each.get("schema") or _json_schema(each) or {}
            as_object = {
                "properties": {own_name: schema},
                "required": [own_name] if each.get("required") or place == "path" else [],
            }
            self._note_style(each, schema, f"{name}: the {place} {own_name}")
            (member,) = self._schemas.members(as_object, name, with_range=True)
            described = Member(
                name=member.name,
                type=member.type,
                description=text_of(each) or member.description,
                min=member.min,
                max=member.max,
            )
            yield member.name, (described, place)
        declared = {str(each.get("name")) for each in parameters if each.get("in") == "path"}
        for missing in dict.fromkeys(each for each in in_path if each not in declared):
            self._note(f"{name}: the path {missing} is not declared, and becomes a string")
            yield missing, (Member(name=missing, type="string"), "path")

    def _note_style(self, parameter: Schema, schema: object, what: str) -> None:
        """Note a parameter that the server expects in another form than cm-exec sends it."""
        style = parameter.get("style") or {"query": "form"}.get(parameter["in"], "simple")
        plain = self._schemas.whole(schema) if isinstance(schema, Mapping) else {}
        is_list = plain.get("type") == "array"
        repeats = parameter["in"] == "query" and parameter.get("explode") is not False
        is_compound = "content" not in parameter and (is_list or plain.get("type") == "object")
        if style not in {"form", "simple"} or (is_compound and not (is_list and repeats)):
            sent = "repeated" if is_list and parameter["in"] == "query" else "as JSON text"
            self._note(
                f"{what} is sent {sent if is_compound else 'as it is'}, not in the style {style} of the document"
            )

    def _body(self, operation: Schema, name: str) -> tuple[list[Member], bool]:
        """Return the members of the body, or one member and True if the body is no object."""
        body = self._schemas.resolved(mapping(operation, "requestBody"))
        schema = _json_schema(body)
        if schema is None:
            if body:
                self._note(f"{name}: the body is left out: it is not JSON")
            return [], False
        whole = self._schemas.whole(schema)
        more = self._schemas.beyond_members(whole)
        if whole.get("properties") and (more is None or "additionalProperties" in whole):
            if more is not None:
                self._note(f"{name} takes only the properties of its body: {more}")
            return list(self._schemas.members(whole, name, with_range=True)), False
        type_ = self._schemas.type(schema, f"{name}.body")
        is_required = body.get("required") is True
        return [Member(name="body", type=type_ if is_required else self._schemas.optional(type_))], True

    def _returns(self, operation: Schema, name: str, options: dict[str, Any]) -> tuple[str, str | None]:
        """Return type and description of the result. A text gets the option that makes it a JSON string."""
        responses = mapping(operation, "responses")
        good = [key for key in responses if str(key).startswith("2")] or ["default"]
        every = [self._schemas.resolved(mapping(responses, key)) for key in good]
        response = next((each for each in every if each.get("content")), every[0])
        schema = _json_schema(response)
        if schema is not None:
            return self._schemas.type(schema, f"{name}.returns"), text_of(response)
        contents = mapping(response, "content")
        if contents and all(map(_TEXT.fullmatch, contents)):
            options["output"] = "text"
            return "string", text_of(response)
        return ("binary", text_of(response)) if contents else ("void", None)


def _own_name(operation: Schema) -> str:
    return str(operation.get("operationId") or "")


def _quoted(path: str) -> str:
    """Return a path for a request, with the names in braces as they are."""
    parts = re.split(_IN_BRACES, path)
    parts[::2] = [quote(part, safe=_PATH_CHARACTERS) for part in parts[::2]]
    parts[1::2] = [f"{{{name}}}" for name in parts[1::2]]
    return "".join(parts)


def _json_schema(described: Schema) -> Schema | None:
    """Return the schema of a parameter, body or response, None if it is not JSON.

    Some frameworks write `*/*` for JSON. A string under it is text.
    """
    contents = mapping(described, "content")
    for kind in contents:
        if _JSON.fullmatch(kind):
            return mapping(mapping(contents, kind), "schema")
    schemas = (mapping(mapping(contents, kind), "schema") for kind in contents if _ANY.fullmatch(kind))
    return next((schema for schema in schemas if schema and schema.get("type") != "string"), None)
