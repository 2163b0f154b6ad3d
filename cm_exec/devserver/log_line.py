"""The worker's log, line by line: what `cm-exec run --log-format sls` writes, and whatever else comes."""

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A line of the worker. `from_handler` is what a handler wrote; `level` is INFO, WARN, ERROR or DEBUG."""

    text: str
    level: str = "INFO"
    from_handler: bool = False
    job_id: str | None = None
    function: str | None = None


class _Params(msgspec.Struct):
    job_id: str | None = None
    function: str | None = None


class _Line(msgspec.Struct):
    message: str
    level: str
    safe: bool
    params: _Params


_decoder = msgspec.json.Decoder(_Line)


def parse_log_line(line: bytes) -> LogEntry:
    """Read a line. What is no structured line, such as a traceback, is taken as it stands."""
    try:
        read = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return LogEntry(text=line.decode(errors="backslashreplace").rstrip("\r\n"), level="ERROR")
    return LogEntry(
        text=read.message,
        level=read.level,
        from_handler=not read.safe,
        job_id=read.params.job_id,
        function=read.params.function,
    )
