"""One JSON object a line on stderr, made of allowed fields only: what is not on the list cannot be logged."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

_NAMES = (
    "alert at checks client connection due error findings kind method migration outcome overdue port processed request "
    "route service status stream took_ms version"
)
FIELDS = frozenset(_NAMES.split())
_LOGGER = logging.getLogger("vault")  # asked at every request


class JsonFormatter(logging.Formatter):
    """Our events with their fields; of other libraries a template's first line alone: anything more could quote data.

    asyncio writes what it knows of an exception behind the first line, its text too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.msg.partition("\n")[0] if isinstance(record.msg, str) else type(record.msg).__name__,
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update({name: value for name, value in fields.items() if name in FIELDS})
        if record.exc_info and record.exc_info[0]:
            line.update(describe(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=True, default=str)


def describe(error: BaseException | None) -> dict[str, str]:
    """An exception as its type and place; its text is left out because it may carry a token or a row."""
    if error is None:
        return {}
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""
    code = getattr(error, "sqlstate", None)
    return {"error": type(error).__name__ + (f" {code}" if code else ""), "at": place}


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log one event of ours. A field that is not allowed is a defect and raises ValueError."""
    unknown = fields.keys() - FIELDS
    if unknown:
        raise ValueError(f"not allowed in a log: {', '.join(sorted(unknown))}")
    _LOGGER.log(level, name, extra={"fields": fields})


def failed(error: BaseException, request: object) -> None:
    """Log an exception that a request ended with, as its type and place."""
    event("request_failed", logging.ERROR, request=request, **describe(error))


def wanted(level: int) -> bool:
    """Whether an event of this level would be written: making one costs more than a read."""
    return _LOGGER.isEnabledFor(level)


def start(level: str, stream: TextIO | None = None) -> None:
    """Send every logger of the process through the formatter."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel(level.upper())
