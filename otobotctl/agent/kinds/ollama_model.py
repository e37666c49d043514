"""A language model of an Ollama on this host: fetched with progress, resumed, refused where it has no room."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any, Dict, Optional

from otobotctl.agent import nvidia, ollama
from otobotctl.agent.run import ProbeError, Run, StepError

EVERY_S = 1.0  # between two words of progress
PAUSE_S = 2.0  # before the next try; doubles
DOCKER = "/var/lib/docker"
PROGRESS = "progress: "  # and JSON: model, status, completed, total (bytes of what is known so far)


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"size": bytes or None, "digest"}: None, it is not there. A host without Ollama has no answer yet."""
    try:
        model = ollama.found(ollama.models(params["url"]), params["name"])
    except ollama.ApiError as error:
        raise ProbeError(str(error)) from None
    return {"size": model["size"], "digest": model.get("digest", "")} if model else {"size": None, "digest": ""}


def probe_all(many: "list[Dict[str, Any]]") -> "list[Dict[str, Any]]":
    """The facts of each, by one request an address."""
    listed = {url: ollama.models(url) for url in {params["url"] for params in many}}
    models = [ollama.found(listed[params["url"]], params["name"]) for params in many]
    return [{"size": m["size"], "digest": m.get("digest", "")} if m else {"size": None, "digest": ""} for m in models]


def apply(params: Dict[str, Any], run: Run) -> None:
    """Fetch it, or take it away. Raises StepError with Ollama's own word, or the arithmetic of what is missing."""
    there = probe(params)["size"] is not None
    if params["state"] == "absent":
        if there:
            _asked(params, "/api/delete", {"model": params["name"]}, "DELETE")
        return
    if not there:
        _fetch(params, run)
    if probe(params)["size"] is None:
        raise StepError("{} was fetched, yet is not there".format(params["name"]))


def _fetch(params: Dict[str, Any], run: Run) -> None:
    pause = PAUSE_S
    for left in range(params["tries"] - 1, -1, -1):
        trouble = _try(params, run)
        if trouble is None:
            return
        if not trouble.passing or not left:
            raise StepError("{}: {}".format(params["name"], trouble))
        text = "warning: {}: {}; tried again in {:g} s, what has come is kept"
        run.say(text.format(params["name"], trouble, pause))
        time.sleep(pause)
        pause *= 2


def _try(params: Dict[str, Any], run: Run) -> "Optional[ollama.ApiError]":
    try:
        _pull(params, run)
    except ollama.ApiError as error:
        return error
    return None


def _pull(params: Dict[str, Any], run: Run) -> None:
    """One try: every line of the stream, and success only where the last one says so."""
    fetched = Fetched(params["name"])
    last: Dict[str, Any] = {}
    for last in ollama.lines(params["url"], "/api/pull", {"model": params["name"], "stream": True}):
        if fetched.hear(last):
            # A part that was not known before: it ends here, before anything of it is written, if it has no room.
            trouble = _no_room(params, fetched)
            if trouble:
                raise ollama.ApiError(trouble)
        word = fetched.told(time.monotonic(), str(last.get("status", "")))
        if word:
            run.say(word)
    if last.get("status") != "success":
        raise ollama.ApiError("the answer broke off after: {}".format(last.get("status", "nothing")), passing=True)


class Fetched:
    """How far a fetch is: each part's size and what has come of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.total: Dict[str, int] = {}
        self.come: Dict[str, int] = {}
        self._said: Optional[float] = None

    def hear(self, record: Dict[str, Any]) -> bool:
        """Take in a line; whether it tells of a part that was not known."""
        digest = record.get("digest")
        if not digest or "total" not in record:
            return False
        new = digest not in self.total
        self.total[digest] = record["total"]
        self.come[digest] = record.get("completed", self.come.get(digest, 0))
        return new

    def told(self, now: float, status: str) -> str:
        """A line for the operator's machine, once a second and for each new status; "" for nothing."""
        if self._said is not None and now - self._said < EVERY_S and status != "success":
            return ""
        self._said = now
        amounts = {"completed": sum(self.come.values()), "total": sum(self.total.values())}
        return PROGRESS + json.dumps(dict(amounts, model=self.name, status=status), sort_keys=True)


def _no_room(params: Dict[str, Any], fetched: Fetched) -> str:
    free = shutil.disk_usage(params.get("disk") or DOCKER).free
    cards = None if params.get("cpu") else nvidia.room(ollama.memory())
    return ollama.no_room(
        sum(fetched.total.values()),
        sum(fetched.come.values()),
        free,
        params["spare_mb"] << 20,
        cards,
        ollama.memory(),
        max(fetched.total.values()),
    )


def _asked(params: Dict[str, Any], path: str, body: Dict[str, Any], method: str) -> None:
    try:
        ollama.ask(params["url"], path, body, method)
    except ollama.ApiError as error:
        raise StepError("{}: {}".format(params["name"], error)) from None
