"""What a service prepares: asked about by digests, planned by what its own program answers, never shown."""

from __future__ import annotations

import json

import msgspec

from otobotctl.plan.kinds.provision import ProvisionSpec
from otobotctl.plan.model import Stage, Step
from otobotctl.plan.stage import plan_stage

TOKEN = "t0ken-of-acme"


def spec(token=TOKEN):
    """A credential and a workflow of a client."""
    items = (
        {"name": "credential A", "kind": "credential", "id": "a", "data": {"token": token}},
        {"name": "workflow B", "kind": "workflow", "id": "b"},
    )
    return ProvisionSpec(
        client="acme", project="otobot-acme", service="n8n", program=("node", "/otobot/provision.js"),
        items=tuple(json.dumps(item) for item in items), remedy="delete it",
    )  # fmt: skip


def facts(running=True, trouble="", **states):
    return {
        "running": running,
        "items": {name.replace("_", " "): state for name, state in states.items()},
        "_trouble": trouble,
    }


def test_the_question_has_digests_and_no_secret():
    """The token is in what is applied, and in nothing that is asked, shown or printed; another token, another digest."""
    asked = spec().question()
    assert [item["id"] for item in asked["items"]] == ["a", "b"]
    for shown in (json.dumps(asked), repr(spec()), spec().title(), *spec().commands()):
        assert TOKEN not in shown
    assert TOKEN in json.dumps(spec().wire())
    before, after = (each.question()["items"][0]["digest"] for each in (spec(), spec("another")))
    assert before != after
    assert {key: spec().wire()[key] for key in ("project", "service", "program")} == {
        "project": "otobot-acme",
        "service": "n8n",
        "program": ["node", "/otobot/provision.js"],
    }


def test_only_what_is_absent_or_stale_is_a_change():
    """Ready and kept ones are none; a name that the program does not know is absent."""
    changes = spec().compare(facts(credential_A="stale", workflow_B="kept"))
    assert [(change.what, change.before) for change in changes] == [("credential A", "not as desired")]
    assert spec().compare(facts(credential_A="ready", workflow_B="ready")) == ()
    assert [change.what for change in spec().compare(facts(credential_A="ready"))] == ["workflow B"]


def test_what_cannot_be_looked_at_is_planned():
    """A service that does not run yet, or whose program fails: the apply then says why."""
    assert len(spec().compare(facts(running=False))) == 2
    (change,) = spec().compare(facts(trouble="n8n does not answer"))
    assert change.before == "n8n does not answer"


def test_what_was_kept_is_a_note_with_its_remedy_and_no_step():
    """The operator learns of it at every plan and apply, and nothing is done."""
    found = plan_stage(Stage("s", (Step("s/n8n", spec()),)), [facts(credential_A="ready", workflow_B="kept")])
    assert found.steps == ()
    assert found.notes == ("acme/n8n: the workflow B was changed there and stays so; delete it",)


def test_it_comes_through_a_playbook():
    """As a playbook's words, converted like any other kind."""
    raw = msgspec.to_builtins(spec())
    assert msgspec.convert(raw, ProvisionSpec) == spec()
