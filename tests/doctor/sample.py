"""A healthy host as a real one answered (`facts.json`), and ways to break what it says."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from otobotctl.doctor.checks.schema import bundled
from otobotctl.doctor.model import Case, Handshake, Outside
from otobotctl.doctor.report import diagnose, queries
from otobotctl.doctor.wanted import wanted
from tests.render import sample

CAPTURED = json.loads((Path(__file__).parent / "facts.json").read_text())
SERVICES = ["postgres", "redis", "vault-api", "token-refresher", "tooljet", "n8n", "nginx"]
FOUR, SIX = "203.0.113.10", "2001:db8::10"
NAMES = ("acme.example", "n8n.acme.example", "app.acme.example")
NOW = CAPTURED["time"]
TARGETS = {
    "disk": {"repository": "/srv/backup/acme"},
    "far": {"repository": "rest:https://box.example:8000/acme", "append_only": True},
}
HOUR_S, DAY_S = 3600, 86400
WELL_FORMED = {
    "hex16": [32, "hex"],
    "hex32": [64, "hex"],
    "hex64": [128, "hex"],
    "base64url48": [64, "base64url"],
    "password": [32, "alnum"],
}


@cache
def fleet(tls="self-signed"):
    def change(document):
        del document["clients"]["beta"]
        document["clients"]["acme"].update(company="ACME", services=SERVICES, tls=tls, backup={"targets": TARGETS})

    return sample.resolved(change, sample.catalog().archives())


def well(tls="self-signed") -> Case:
    """The host as it was captured, with an owner of n8n and an archive of this morning; nothing is wrong with it."""
    manifest = fleet(tls)
    host, clients = manifest.host("vps-1"), manifest.clients_of("vps-1")
    held = wanted(host, clients, sample.catalog())
    facts = copy.deepcopy(CAPTURED)
    facts["releases"]["acme"]["archive"] = {"made": NOW - 6 * HOUR_S}
    known = {
        "archive": {"id": "a", "made": NOW - 3 * HOUR_S},
        "attempt": {"at": NOW - 3 * HOUR_S, "error": None},
        "verified": {"at": NOW - 5 * DAY_S, "part": 3, "of": 52, "error": None, "damaged": [], "unknown": False},
        "first": NOW - 90 * DAY_S,
    }
    facts["backups"] = {
        "acme": {
            "client": "acme",
            "targets": [{"name": name, "append_only": name == "far"} for name in TARGETS],
            "rpo_s": 4 * HOUR_S, "rto_s": 1800, "drill_days": 31,
            "state": {
                "targets": {name: copy.deepcopy(known) for name in TARGETS},
                "drill": {"at": NOW - 9 * DAY_S, "ok": True, "took_s": 200.0},
            },
        }
    }  # fmt: skip
    # The image is named by the digest of what it is built from: every change of the vault changes it.
    for each in facts["containers"]:
        project = each["project"].removeprefix("otobot-")
        each["image"] = held.images[project].get(each["service"], each["image"])
        # So do variables that a service has got since.
        for name, variable in held.variables.get(project, {}).get(each["service"], {}).items():
            each["environment"].setdefault(name, WELL_FORMED.get(variable.kind, [8, "text"]))
    rows = {
        "userManagement": (("true",),),
        "workflow_entity": (),
        "schema_migrations": tuple((str(v), c) for v, c in sorted(bundled(sample.catalog()).items())),
        "client_connections": (("0", "0"),),
    }
    facts["logins"] = [{"ok": True, "said": ""} for _ in held.logins]
    answers = {
        query: next((found for word, found in rows.items() if word in query.database or word in query.sql), ())
        for query in queries(clients)
    }
    outside = Outside(
        targets=(FOUR, SIX),
        resolved=dict.fromkeys(NAMES, (FOUR, SIX)),
        ports={(address, port): port in {22, 80, 443} for address in (FOUR, SIX) for port in (22, 80, 443, 3001, 5432)},
        handshakes=tuple(Handshake(name, FOUR, trusted="self-signed certificate") for name in NAMES),
    )
    return Case(host, clients, sample.catalog(), held, NOW, facts=facts, answers=answers, outside=outside)


def found(case: Case) -> dict[str, list]:
    """Findings by check; a check that broke is one too."""
    diagnosis = diagnose(case)
    assert not [each for each in diagnosis.skipped if "defect" in each.why], diagnosis.skipped
    by_check: dict[str, list] = {}
    for each in diagnosis.findings:
        by_check.setdefault(each.check, []).append(each)
    return by_check


def container(case: Case, service: str) -> dict:
    """What the host says of one container, to be changed in place."""
    return next(each for each in case.facts["containers"] if each["service"] == service)


def answered(case: Case, word: str, rows) -> Case:
    """The same with another answer to the query that has `word` in it."""
    changed = {q: rows if word in q.sql or word in q.database else a for q, a in case.answers.items()}
    assert changed != case.answers
    return replace(case, answers=changed)


def outside(case: Case, **changed) -> Case:
    return replace(case, outside=replace(case.outside, **changed))
