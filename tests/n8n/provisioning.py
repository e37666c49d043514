"""The programs that a deploy runs beside n8n, run as it runs them: in n8n's own environment, contents on stdin."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.n8n import package
from tests.n8n.client import N8n

LIMIT_S = 300
OWNER = {
    "kind": "owner", "id": "owner", "name": "owner's account",
    "email": "it@acme.example", "firstName": "ACME", "lastName": "Otobot", "password": "Abcdefgh0123456789",
}  # fmt: skip


def credential(token: str, identity: str = "otobotApiConnect") -> dict[str, Any]:
    """What the vault's credential is made of."""
    data = {"clientId": "acme", "apiUrl": "http://vault-api:3001", "internalToken": token}
    return {
        "kind": "credential", "id": identity, "name": f"credential {identity}", "title": "Otobot API Connection",
        "type": package.LOGIN, "data": data,
    }  # fmt: skip


def workflow(identity: str, answer: str, path: str = "") -> dict[str, Any]:
    """A workflow that answers a webhook with a text."""
    hook = {
        "id": f"{identity}-1", "name": "Webhook", "type": "n8n-nodes-base.webhook", "typeVersion": 2,
        "position": [0, 0], "webhookId": f"{identity}-1",
        "parameters": {"path": path or identity, "httpMethod": "GET", "responseMode": "lastNode"},
    }  # fmt: skip
    code = {
        "id": f"{identity}-2", "name": "Answer", "type": "n8n-nodes-base.set", "typeVersion": 3.3,
        "position": [200, 0],
        "parameters": {"mode": "raw", "jsonOutput": json.dumps({"said": answer}), "options": {}},
    }  # fmt: skip
    wire = {"Webhook": {"main": [[{"node": "Answer", "type": "main", "index": 0}]]}}
    document = {
        "name": f"w {identity}",
        "nodes": [hook, code],
        "connections": wire,
        "settings": {"executionOrder": "v1"},
    }
    return {"kind": "workflow", "id": identity, "name": f"workflow {identity}", "workflow": document}


class Programs:
    """The programs for one n8n. `where` comes before everything else in their PATH."""

    def __init__(self, n8n: N8n, tree: Path, folder: Path) -> None:
        self.node = tree / "bin/node"
        program = folder / "n8n"
        if not program.exists():
            program.symlink_to(tree / "node_modules/n8n/bin/n8n")
        self.environment = {**n8n.environment, "PATH": f"{folder}:{n8n.environment['PATH']}"}

    def check(self, items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """How each item is, by its name."""
        told = [{key: item[key] for key in ("name", "kind", "id", "digest")} for item in map(stamped, items)]
        return dict(json.loads(self.run("provision.js", "check", json.dumps(told)).stdout)["items"])

    def apply(self, items: Sequence[Mapping[str, Any]], **environment: str) -> subprocess.CompletedProcess[str]:
        """Make them so; it may fail."""
        stdin = json.dumps([stamped(item) for item in items])
        return self.run("provision.js", "apply", stdin=stdin, check=False, **environment)

    def made(self, items: Sequence[Mapping[str, Any]]) -> list[str]:
        """Make them so, and return what it says it did."""
        done = self.apply(items)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def run(
        self, program: str, *arguments: str, stdin: str = "", check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        done = subprocess.run(
            [self.node, package.SOURCES / program, *arguments], env={**self.environment, **environment}, input=stdin,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done


def stamped(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item with its digest, as a deploy sends it."""
    return {**item, "digest": hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:32]}
