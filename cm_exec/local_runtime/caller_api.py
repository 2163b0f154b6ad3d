"""Serve callers and the console: functions to call, jobs to look at, events to watch."""

import asyncio
import itertools
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from cm_exec.local_runtime import views
from cm_exec.local_runtime.answers import JsonAnswer, SpoolAnswer
from cm_exec.local_runtime.call import Call, ResultSpool
from cm_exec.local_runtime.core import RuntimeJob, State, Submission
from cm_exec.local_runtime.core.faults import FaultSyntaxError
from cm_exec.local_runtime.feed import EventStream, Notice
from cm_exec.local_runtime.views import RuntimeInfo, UpdateView
from cm_exec.protocol.json_text import json_problem

LARGEST_QUERY: Final = 512 * 1024 * 1024
_LARGEST_SETTING: Final = 1024 * 1024


class _ConsoleFiles(StaticFiles):
    """Files that the browser must ask for each time: an older version of the console would not fit this runtime."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Implement StaticFiles."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Implement StaticFiles: the last of the routes, so that a misspelt path of the API comes here."""
        with suppress(HTTPException):
            return await super().get_response(path, scope)
        sentence = f"there is nothing at {scope['path']}; a function is called with POST /functions/NAME"
        raise HTTPException(HTTPStatus.NOT_FOUND, sentence)


class CallerApi:
    """The endpoints; `application` is what serves them."""

    def __init__(self, info: RuntimeInfo) -> None:
        self._info = info
        self._options = info.options
        self._broker = info.broker
        routes: list[Route | Mount] = [
            _route("/functions", GET=self._functions),
            _route("/functions/{name:path}", POST=self._call),
            _route("/jobs", GET=self._jobs),
            _route("/jobs/{job_id}", GET=self._job),
            _route("/jobs/{job_id}/query", GET=self._query),
            _route("/jobs/{job_id}/result", GET=self._result),
            _route("/jobs/{job_id}/log", GET=self._job_log),
            _route("/jobs/{job_id}/replay", POST=self._replay),
            _route("/jobs/{job_id}/cancel", POST=self._cancel),
            _route("/jobs/{job_id}/drop", POST=self._drop),
            _route("/jobs/{job_id}/test", POST=self._save_test),
            _route("/state", GET=self._state),
            _route("/log", GET=self._log),
            _route("/faults", PUT=self._set_faults),
            _route("/events", GET=self._events),
        ]
        if (info.options.console / "index.html").is_file():
            routes.append(Mount("/", _ConsoleFiles(directory=info.options.console, html=True)))
        self.application: ASGIApp = Starlette(routes=routes, exception_handlers={HTTPException: _error})

    # Calls

    async def _call(self, request: Request) -> ASGIApp:
        if not request.path_params["name"]:
            raise HTTPException(HTTPStatus.NOT_FOUND, "the function's name is missing; send POST /functions/NAME")
        query = await _body(request, LARGEST_QUERY) or b"{}"
        if (problem := json_problem(query)) is not None:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {problem}")
        submission = Submission(
            function=request.path_params["name"],
            query=query,
            user_id=_header(request, "x-user-id", self._options.user_id),
            auth_header=_header(request, "x-auth-header", self._options.auth_header),
            temporary_credentials_auth_token=_header(request, "x-temporary-credentials-auth-token", None),
            timeout=self._timeout(request),
        )
        return await self._answer(request, submission)

    async def _replay(self, request: Request) -> ASGIApp:
        job = self._known(request)
        timeout = self._timeout(request)
        return await self._answer(request, replace(job.submission, timeout=timeout, replay_of=job.job_id))

    async def _answer(self, request: Request, submission: Submission) -> ASGIApp:
        failure_status = _failure_status(request)
        call = Call(str(uuid.uuid4()))
        if not _flag(request, "wait", default=True):
            self._broker.submit(call, submission)
            headers = {"Location": f"/jobs/{call.job_id}", "X-Job-Id": call.job_id}
            return JsonAnswer({"jobId": call.job_id}, HTTPStatus.ACCEPTED, headers)
        outcomes: asyncio.Queue[ResultSpool | tuple[RuntimeJob, ResultSpool | None]] = asyncio.Queue()
        call.on_begin(outcomes.put_nowait)
        call.on_end(lambda job, body: outcomes.put_nowait((job, body)))
        self._broker.submit(call, submission)
        outcome = await outcomes.get()
        if isinstance(outcome, ResultSpool):
            return SpoolAnswer(outcome, name=submission.function, headers={"X-Job-Id": call.job_id})
        return _final_answer(*outcome, failure_status)

    def _timeout(self, request: Request) -> float | None:
        given = request.query_params.get("timeout")
        if given is None:
            return self._options.timeout
        return _number(given, "timeout") or None

    # Jobs

    async def _jobs(self, request: Request) -> ASGIApp:
        limit = int(_number(request.query_params.get("limit", "100"), "limit"))
        if not 1 <= limit <= _MOST_JOBS:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"limit is from 1 to {_MOST_JOBS}")
        found = list(itertools.islice(self._selected(request), limit + 1))
        return JsonAnswer(
            {"jobs": [views.job_view(job, self._broker) for job in found[:limit]], "more": len(found) > limit}
        )

    def _selected(self, request: Request) -> Iterator[RuntimeJob]:
        jobs: Iterator[RuntimeJob] = reversed(self._broker.ledger.jobs.values())
        before = request.query_params.get("before")
        if before is not None:
            first = self._broker.ledger.jobs.get(before)
            jobs = (job for job in jobs if first is not None and job.number < first.number)
        states = request.query_params.get("state")
        if states is not None:
            wanted = set(states.split(","))
            if not wanted <= set(State):
                raise HTTPException(HTTPStatus.BAD_REQUEST, f"state is of {', '.join(State)}")
            jobs = (job for job in jobs if job.state in wanted)
        function = request.query_params.get("function")
        return jobs if function is None else (job for job in jobs if job.function == function)

    async def _job(self, request: Request) -> ASGIApp:
        return JsonAnswer(views.job_detail(self._known(request), self._broker))

    async def _query(self, request: Request) -> ASGIApp:
        job = self._known(request)
        spool = ResultSpool(self._broker.directory, in_memory=len(job.query))
        spool.append(job.query)
        spool.finish()
        return SpoolAnswer(spool, name=f"{job.function}-{job.number}-query.json", media_type="application/json")

    async def _result(self, request: Request) -> ASGIApp:
        job = self._known(request)
        spool = self._broker.body(job.job_id)
        if spool is None:
            why = "the result is not kept any more" if job.answer else f"the job is {job.state}, without a result"
            raise HTTPException(HTTPStatus.NOT_FOUND, why)
        media = job.answer.media.media_type if job.answer else None
        return SpoolAnswer(spool, name=_file_name(job), headers={"X-Job-Id": job.job_id}, media_type=media)

    async def _job_log(self, request: Request) -> ASGIApp:
        return JsonAnswer(views.lines_view(self._broker.log.of(self._known(request).job_id)))

    async def _cancel(self, request: Request) -> ASGIApp:
        """Give up waiting for a job. The worker is not notified, as on the platform: its slot stays taken."""
        job = self._known(request)
        self._broker.cancel(job.job_id)
        return JsonAnswer(views.job_view(self._known(request), self._broker))

    async def _drop(self, request: Request) -> ASGIApp:
        """Free the slot of an outstanding job, as a restart notification does."""
        job = self._known(request)
        if not job.outstanding:
            raise HTTPException(HTTPStatus.CONFLICT, "the job holds no slot")
        self._broker.drop(job.job_id)
        return JsonAnswer(views.job_view(self._known(request), self._broker))

    async def _save_test(self, request: Request) -> ASGIApp:
        job = self._known(request)
        try:
            entry = views.test_entry(job, self._broker.body(job.job_id))
            saved_in = self._options.save_test(entry) if self._options.save_test else None
        except views.InvalidTestError as error:
            raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
        status = HTTPStatus.OK if saved_in is None else HTTPStatus.CREATED
        return JsonAnswer({"test": entry, "savedIn": saved_in}, status)

    def _known(self, request: Request) -> RuntimeJob:
        job = self._broker.ledger.jobs.get(request.path_params["job_id"])
        if job is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such job, or it is not remembered any more")
        return job

    # The rest

    async def _functions(self, _: Request) -> ASGIApp:
        return JsonAnswer({"functions": views.functions_view(self._broker)})

    async def _state(self, _: Request) -> ASGIApp:
        broker = self._broker
        ledger = broker.ledger
        return JsonAnswer(
            {
                **self._info.state_view(),
                "run": self._info.run,
                "now": round(broker.clock() * 1000),
                "worker": views.worker_view(broker),
                "queue": views.queue_view(broker),
                "functions": views.functions_view(broker),
                "breachCount": ledger.violation_count,
                "breaches": [views.violation_view(violation) for violation in list(ledger.violations)[-100:]],
                "latestJob": ledger.latest_number,
            }
        )

    async def _log(self, _: Request) -> ASGIApp:
        return JsonAnswer(views.lines_view(self._broker.log.of(None)))

    async def _set_faults(self, request: Request) -> ASGIApp:
        body = await _body(request, _LARGEST_SETTING)
        try:
            texts = msgspec.json.decode(body, type=_Faults).faults
            self._info.api.faults.set(texts)
        except (msgspec.MsgspecError, UnicodeDecodeError, FaultSyntaxError) as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._broker.publish(Notice.STATE)
        return JsonAnswer({"faults": self._info.api.faults.texts})

    async def _events(self, _: Request) -> ASGIApp:
        view = UpdateView(self._broker, self._info.api.faults)
        return EventStream(self._broker.subscribers, {"run": self._info.run, "sequence": 0}, view)


_MOST_JOBS: Final = 1000


def _route(path: str, **endpoints: Callable[[Request], Awaitable[ASGIApp]]) -> Route:
    """Return a route for all methods, so that a wrong one is answered with 405 instead of looked up as a file."""

    async def serve(request: Request) -> ASGIApp:
        method = "GET" if request.method == "HEAD" else request.method
        if method not in endpoints:
            allowed = ", ".join(endpoints)
            sentence = f"{request.method} is not possible here; the method must be {allowed}"
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, sentence, {"Allow": allowed})
        return await endpoints[method](request)

    return Route(path, serve, methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])


class _Faults(msgspec.Struct):
    faults: list[str]


def _final_answer(job: RuntimeJob, body: ResultSpool | None, failure_status: int) -> ASGIApp:
    headers = {"X-Job-Id": job.job_id, "X-Job-State": job.state.value}
    if job.answer is not None and body is not None and job.started is not None and job.ended is not None:
        headers["X-Job-Duration-Ms"] = f"{(job.ended - job.started) * 1000:.3f}"
        status = failure_status if job.state is State.FAILED else HTTPStatus.OK
        media = job.answer.media.media_type
        return SpoolAnswer(body, name=_file_name(job), headers=headers, media_type=media, status=status)
    status = {State.FAILED: HTTPStatus.GATEWAY_TIMEOUT, State.LOST: HTTPStatus.BAD_GATEWAY}.get(
        job.state, HTTPStatus.SERVICE_UNAVAILABLE
    )
    reason = job.reason or "no result: the runtime stops"
    return JsonAnswer({"error": reason, "jobId": job.job_id}, status, headers)


def _file_name(job: RuntimeJob) -> str:
    return f"{job.function}-{job.number}{job.answer.media.extension if job.answer else ''}"


async def _error(_: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return JsonAnswer({"error": detail}, status, headers)


async def _body(request: Request, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body ended early") from None
    if size > limit:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {limit} bytes")
    return b"".join(pieces)


def _header(request: Request, name: str, default: str | None) -> str | None:
    """Return a header's text: UTF-8, as programs send it, or Latin-1, as browsers do."""
    value = request.headers.get(name)
    if value is None:
        return default
    with suppress(UnicodeDecodeError):
        return value.encode("latin-1").decode()
    return value


def _failure_status(request: Request) -> int:
    """Return the status of an error result: 200, since it is a result, or what `?fail=502` asks for."""
    given = request.query_params.get("fail")
    if given is None:
        return HTTPStatus.OK
    if re.fullmatch(r"[45][0-9]{2}", given) is None:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "fail is a status from 400 to 599")
    return int(given)


def _flag(request: Request, name: str, *, default: bool) -> bool:
    given = request.query_params.get(name)
    if given is None:
        return default
    if given.lower() not in _FLAGS:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"{name} is true or false")
    return _FLAGS[given.lower()]


_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def _number(given: str, name: str) -> float:
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"{name} is a number, 0 or more")
    return number
