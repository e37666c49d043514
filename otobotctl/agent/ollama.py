"""Ollama's API on this host: what is asked of it, and whether a model has room. Standard library only."""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse
from typing import Any, Dict, Iterator, List, Optional

ANSWER_S = 30.0
SILENCE_S = 120.0  # a fetch that says nothing for so long is begun anew: what has come is kept
GIB = 1 << 30


class ApiError(Exception):
    """Ollama refused, or cannot be reached; `passing` is whether a new try may go better."""

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def ask(url: str, path: str, body: Optional[Dict[str, Any]] = None, method: str = "") -> Any:
    """The JSON answer of one request; {} where there is none. Raises ApiError."""
    raw = _asked(url, path, body, method)
    try:
        return json.loads(raw) if raw.strip() else {}
    except ValueError:
        raise ApiError("{}{} answers no JSON".format(url, path)) from None


def text(url: str, path: str) -> str:
    """The text of an answer. Raises ApiError."""
    return _asked(url, path, None, "").decode("utf-8", "replace")


def _asked(url: str, path: str, body: Optional[Dict[str, Any]], method: str) -> bytes:
    connection, response = _sent(url, path, body, method, ANSWER_S)
    try:
        raw = bytes(response.read())
    except (OSError, http.client.HTTPException) as error:
        raise ApiError("{}{}: {}".format(url, path, _why(error)), passing=True) from None
    finally:
        connection.close()
    _check(response.status, raw)
    return raw


def lines(url: str, path: str, body: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Each line of an answer that is streamed. A line {"error": ...}, also after a 200, raises ApiError."""
    for line in raw_lines(url, path, body):
        try:
            record = json.loads(line)
        except ValueError:
            raise ApiError("the answer broke off", passing=True) from None
        if "error" in record:
            raise ApiError(str(record["error"]), passing=passing(str(record["error"])))
        yield record


def raw_lines(url: str, path: str, body: Dict[str, Any]) -> Iterator[bytes]:
    """Each line of an answer that is streamed, as it comes. Raises ApiError."""
    connection, response = _sent(url, path, body, "POST", SILENCE_S)
    try:
        if response.status != http.client.OK:
            _check(response.status, response.read())
        while True:
            line = response.readline()
            if not line:
                return
            yield line
    except (OSError, http.client.HTTPException) as error:
        raise ApiError("the answer broke off: {}".format(_why(error)), passing=True) from None
    finally:
        connection.close()


def _check(status: int, raw: bytes) -> None:
    if status >= http.client.BAD_REQUEST:
        raise ApiError(refusal(raw, status), passing=status >= http.client.INTERNAL_SERVER_ERROR)


def passing(message: str) -> bool:
    """Whether an error told in a stream may pass: what the network or the registry did, not what was asked for."""
    lasting = ("does not exist", "not found", "invalid", "unauthorized", "no space", "newer version")
    return not any(word in message.lower() for word in lasting)


def refusal(raw: bytes, status: int) -> str:
    """What an error answer says."""
    try:
        return word_of(json.loads(raw)["error"])
    except (ValueError, KeyError, TypeError):
        return "answers {}".format(status)


def word_of(error: Any) -> str:
    """What an error says: Ollama's own are text, OpenAI's have a message."""
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def models(url: str) -> List[Dict[str, Any]]:
    """The models that are there, as /api/tags tells them."""
    return list(ask(url, "/api/tags").get("models") or [])


def found(listed: List[Dict[str, Any]], name: str) -> Optional[Dict[str, Any]]:
    """The model of this name, with its tag."""
    for each in listed:
        if name in (each.get("name"), each.get("model")):
            return each
    return None


def no_room(needed: int, had: int, free: int, spare: int, cards: Optional[int], memory: int, largest: int) -> str:
    """Why a model cannot be held; "" when it can. All in bytes; pure.

    `needed` is its size and `had` what has come of it already, `free` what the disk has, `spare` what must stay so.
    `largest` is its largest part, the weights: they must fit in the cards (`cards`; None: there is none) or else in the
    `memory`, with a tenth more for what they work with.
    """
    missing = max(0, needed - had)
    if missing + spare > free:
        text = "the disk cannot hold it: {} to fetch and {} to spare are {}, and {} are free"
        return text.format(size(missing), size(spare), size(missing + spare), size(free))
    wanted = largest + largest // 10
    room, where = (memory, "memory") if cards is None else (cards, "the cards' memory")
    if wanted > room:
        text = "{} cannot hold it: {} of weights and a tenth for its work are {}, and there are {}"
        return text.format(where, size(largest), size(wanted), size(room))
    return ""


def size(count: int) -> str:
    """Bytes as people read them."""
    return "{:.1f} GiB".format(count / GIB) if count >= GIB // 10 else "{:.1f} MiB".format(count / (1 << 20))


def memory() -> int:
    """This machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _sent(url: str, path: str, body: Any, method: str, limit_s: float) -> Any:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=limit_s)
    sent = None if body is None else json.dumps(body).encode()
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, sent, {"Connection": "close"})
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise ApiError("{}: {}".format(url, _why(error)), passing=True) from None


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
