"""How fast models answer: tokens in a second and the wait for the first, asked by several at once. A question."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from otobotctl.agent import ollama, vllm

QUESTION = "Write a short story about a lighthouse keeper. Do not stop early."

Now = Callable[[], float]
Ask = Callable[[str, int], Dict[str, Any]]


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"rows"}: for each of params["models"] and each number of params["callers"], one row.

    A row has model, callers, tokens (of all), seconds (until the last was done), first_s (of each caller, in order of
    size), failed (how many) and error (the first one's). Before that, a row with callers 0: seconds to load it.
    """
    rows: List[Dict[str, Any]] = []
    for model in params["models"]:
        ask = asked_of(params)
        loaded = at_once(ask, model, 1, 1)
        rows.append(dict(loaded, callers=0))
        if loaded["failed"]:
            continue
        rows += [at_once(ask, model, callers, params["tokens"]) for callers in params["callers"]]
    return {"rows": rows}


def asked_of(params: Dict[str, Any]) -> Ask:
    """How this host's engine is asked."""
    one_of = one_of_vllm if params.get("engine") == "vllm" else one
    return lambda model, tokens: one_of(params["url"], model, tokens)


def at_once(ask: Ask, model: str, callers: int, tokens: int) -> Dict[str, Any]:
    """The row of so many callers who ask for so many tokens at the same moment."""
    found: List[Dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: found.append(ask(model, tokens))) for _ in range(callers)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    errors = [each["error"] for each in found if each["error"]]
    return {
        "model": model,
        "callers": callers,
        "tokens": sum(each["tokens"] for each in found),
        "seconds": round(took, 3),
        "first_s": sorted(each["first_s"] for each in found if each["first_s"] is not None),
        "failed": len(errors),
        "error": errors[0] if errors else "",
    }


def one(url: str, model: str, tokens: int, now: Now = time.monotonic) -> Dict[str, Any]:
    """One caller's answer: tokens as Ollama counts them, seconds until the first, and what went wrong."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "options": {"num_predict": tokens, "temperature": 0, "seed": 1},
    }
    return _heard(((True, record.get("eval_count")) for record in ollama.lines(url, "/api/chat", body)), now)


def one_of_vllm(url: str, model: str, tokens: int, now: Now = time.monotonic) -> Dict[str, Any]:
    """The same, asked of vLLM: it counts at the end, and does not stop before it has said so many."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        "ignore_eos": True,
        "temperature": 0,
        "seed": 1,
    }
    return _heard((_piece(event) for event in vllm.events(url, body)), now)


def _piece(event: Dict[str, Any]) -> "Tuple[bool, Optional[int]]":
    said = any((each.get("delta") or {}).get("content") for each in event.get("choices") or [])
    return said, (event.get("usage") or {}).get("completion_tokens")


def _heard(pieces: "Iterable[Tuple[bool, Optional[int]]]", now: Now) -> Dict[str, Any]:
    """What came of an answer, by its pieces: whether one has a word, and the tokens so far where it tells them.

    The question is asked when the first piece is wanted, so that the clock runs by then.
    """
    first: Optional[float] = None
    began, count, error = now(), 0, ""
    try:
        for said, known in pieces:
            first = round(now() - began, 3) if first is None and said else first
            count = count if known is None else known
    except ollama.ApiError as failed:
        error = str(failed)
    return {"tokens": count, "first_s": first, "error": error}
