"""What a person does in n8n's editor, by the requests that the editor sends."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.lab.shell import until

RUN_LIMIT_S = 120
Node = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One execution: `status` is success or error; `nodes` are the runs of each node, as n8n kept them."""

    id: str
    status: str
    nodes: Mapping[str, Any]
    error: Mapping[str, Any] | None

    def items(self, node: str) -> list[dict[str, Any]]:
        """The JSON that `node` put out."""
        return [item["json"] for item in self.nodes[node][-1]["data"]["main"][0]]


class N8n:
    """A running n8n, logged in as its owner after `become_owner`.

    `dump` is its whole database as text, `rows` what a question to it answers, `more` what else it has written to.
    """

    dump: Callable[[], bytes]
    rows: Callable[[str], list[tuple[Any, ...]]]
    more: Callable[[], dict[str, bytes]]

    def __init__(self, url: str, folder: Path, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.folder = folder
        self.log = log
        self.environment = dict(environment or {})
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the `data` of an answer of the REST API. Raises AssertionError with n8n's words for any other."""
        answer = self.http.request(method, f"/rest{path}", json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()["data"]

    def become_owner(self) -> None:
        """Set up the owner, whose session the client keeps: logging in is limited to a few times."""
        names = {"email": "owner@acme.example", "firstName": "Léa", "lastName": "Martin"}
        self.ask("POST", "/owner/setup", {**names, "password": f"Aa1{secrets.token_hex(8)}"})

    def log_in(self, email: str, password: str) -> None:
        """Become the owner that is there already; the session is kept, for https or not."""
        words = {"email": email, "emailOrLdapLoginId": email, "password": password}
        answer = self.http.post("/rest/login", json=words)
        assert answer.status_code == 200, answer.text
        # By hand: the cookie may be for https alone.
        self.http.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]

    def node_types(self) -> dict[str, Any]:
        """Every node type the editor offers, by name."""
        answer = self.http.get("/types/nodes.json")
        assert answer.status_code == 200, answer.text[:500]
        return {each["name"]: each for each in answer.json()}

    def credential(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Store a credential and return what a node says about it."""
        name = f"{kind} {secrets.token_hex(3)}"
        made = self.ask("POST", "/credentials", {"name": name, "type": kind, "data": values, "nodesAccess": []})
        return {kind: {"id": made["id"], "name": name}}

    def try_credential(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the button Test says: `status` is OK or Error, with a `message`."""
        stored = self.credential(kind, values)[kind]
        return dict(self.ask("POST", "/credentials/test", {"credentials": {**stored, "type": kind, "data": values}}))

    def workflow(self, *chain: Node, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Store a workflow of `chain`, each node feeding the next."""
        body = {
            "name": f"w {secrets.token_hex(3)}",
            "active": False,
            "nodes": [_placed(node, position) for position, node in enumerate(chain)],
            "connections": _chained(chain),
            "settings": {"executionOrder": "v1", **(settings or {})},
        }
        return self.store(body)

    def store(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Store a workflow as it is exported; n8n gives it an id of its own."""
        return dict(self.ask("POST", "/workflows", {**document, "active": False}))

    def run(self, *chain: Node, settings: Mapping[str, Any] | None = None) -> Run:
        """Store a workflow whose first node is a manual trigger, click on Execute, and wait for its end.

        Every run is kept in the database, whatever n8n's own settings are.
        """
        return self.click(self.workflow(*chain, settings={**SAVE_ALL, **(settings or {})}), chain[0]["name"])

    def click(self, saved: Mapping[str, Any], start: str, came: Any = None) -> Run:
        """Click on Execute in a stored workflow; `came` is what is pinned to the trigger `start`, if anything."""
        pinned = {start: [{"json": came}]} if came is not None else {}
        body = {"workflowData": {**saved, "pinData": pinned}, "triggerToStartFrom": {"name": start}}
        answer = self.http.post(f"/rest/workflows/{saved['id']}/run", json=body)
        if answer.status_code == 404:  # 1.41.1
            body |= {"pinData": pinned, **({"startNodes": []} if pinned else {})}
            answer = self.http.post("/rest/workflows/run", json=body)
        assert answer.status_code == 200, answer.text
        return self.execution(answer.json()["data"]["executionId"])

    def publish(self, *chain: Node) -> dict[str, Any]:
        """Store a workflow that starts from outside, and switch it on."""
        return self.activate(self.workflow(*chain, settings=SAVE_ALL))

    def activate(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Switch a stored workflow on."""
        if (
            "versionId" in saved
            and self.http.post(f"/rest/workflows/{saved['id']}/activate", json=_version(saved)).is_success
        ):
            return dict(saved)
        return dict(self.ask("PATCH", f"/workflows/{saved['id']}", {"active": True, **_version(saved)}))

    def deactivate(self, saved: Mapping[str, Any]) -> None:
        """Switch it off."""
        if not self.http.post(f"/rest/workflows/{saved['id']}/deactivate", json=_version(saved)).is_success:
            self.ask("PATCH", f"/workflows/{saved['id']}", {"active": False, **_version(saved)})

    def runs(self, saved: Mapping[str, Any]) -> list[Run]:
        """Every execution of a workflow that has ended, newest first."""
        found = self.ask("GET", f"/executions?filter={json.dumps({'workflowId': saved['id']})}")["results"]
        return [self.execution(each["id"]) for each in found]

    def executions_ended(self) -> None:
        """Wait until nothing runs, so that all is written that will be."""
        until(lambda: not self._running(), "the end of every execution", RUN_LIMIT_S)

    def _running(self) -> bool:
        found = self.ask("GET", f"/executions?filter={json.dumps({'status': ['running', 'new']})}")
        return bool(found["results"])

    def execution(self, identity: str) -> Run:
        """Wait for the end of an execution and return what n8n kept of it."""

        def ended() -> dict[str, Any] | None:
            found = self.http.get(f"/rest/executions/{identity}").json().get("data") or {}
            return (
                found
                if found.get("finished") or found.get("status") in {"error", "crashed", "success", "waiting"}
                else None
            )

        found = until(ended, f"execution {identity}", RUN_LIMIT_S)
        result = unflatten(found["data"])["resultData"]
        return Run(identity, found["status"], result.get("runData", {}), result.get("error"))


# Each a workflow's own word over what n8n is set to.
SAVE_ALL = {
    "saveDataSuccessExecution": "all",
    "saveDataErrorExecution": "all",
    "saveManualExecutions": True,
    "saveExecutionProgress": True,
}


def trigger() -> dict[str, Any]:
    """The node of the button Execute."""
    return {"name": "Start", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1, "parameters": {}}


def unflatten(text: str) -> Any:
    """Read the format of the npm package flatted: a list whose strings are positions in it."""
    parts = json.loads(text)
    seen: dict[int, Any] = {}

    def at(position: int) -> Any:
        if position not in seen:
            seen[position] = None  # what comes round to itself ends here
            seen[position] = whole(parts[position])
        return seen[position]

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: at(int(each)) if isinstance(each, str) else each for key, each in value.items()}
        if isinstance(value, list):
            return [at(int(each)) if isinstance(each, str) else each for each in value]
        return value

    return at(0)


def _version(workflow: Mapping[str, Any]) -> dict[str, Any]:
    return {"versionId": workflow["versionId"]}


def _placed(node: Node, position: int) -> dict[str, Any]:
    return {"id": secrets.token_hex(8), "position": [200 * position, 0], "parameters": {}, **node}


def _chained(chain: Sequence[Node]) -> dict[str, Any]:
    pairs = itertools.pairwise(chain)
    return {one["name"]: {"main": [[{"node": two["name"], "type": "main", "index": 0}]]} for one, two in pairs}
