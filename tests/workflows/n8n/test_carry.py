"""Export and import against an n8n that is a list of workflows: what is asked, written, stored and refused."""

from __future__ import annotations

import copy
import json

import pytest

from otobotctl.errors import UsageError
from otobotctl.workflows.n8n import carry, files


class Door:
    """An n8n in memory, with the credentials of these names."""

    def __init__(self, *workflows, credentials=("Vault",), refused=()):
        self.stored = {each["id"]: copy.deepcopy(each) for each in workflows}
        self.credentials = credentials
        self.refused = refused
        self.calls = []

    def workflows(self):
        return [copy.deepcopy(each) for _, each in sorted(self.stored.items())]

    def store(self, workflows, active):
        self.calls.append(([each["id"] for each in workflows], dict(active)))
        answers = []
        for each in workflows:
            names = {said["name"] for node in each["nodes"] for said in node.get("credentials", {}).values()}
            why = "it is active" if each["id"] in self.refused else ""
            if not why:
                before = self.stored.get(each["id"], {"active": False})
                self.stored[each["id"]] = {**copy.deepcopy(each), "active": before["active"]}
            answers.append({"id": each["id"], "why": why, "missing": sorted(names - set(self.credentials))})
        for identity, on in active.items():
            self.stored[identity]["active"] = on
        told = {answer["id"] for answer in answers}
        return answers + [{"id": each, "why": "", "missing": []} for each in active if each not in told]


def workflow(identity, name="Hello", url="https://api.example", active=False, **parameters):
    """A workflow with one node that has a credential."""
    node = {
        "id": "n1", "name": "Call", "type": "t", "typeVersion": 1, "position": [0, 0],
        "parameters": {"url": url, **parameters}, "credentials": {"kind": {"id": f"c-{identity}", "name": "Vault"}},
    }  # fmt: skip
    return {"id": identity, "name": name, "active": active, "nodes": [node], "connections": {}, "settings": {}}


@pytest.fixture
def asked():
    """What the operator is asked; he agrees."""
    return []


def export(door, folder, asked, *chosen, suspicious=False):
    return carry.export(door, "acme", folder, chosen, asked.append, suspicious=suspicious)


def bring(door, folder, asked, activation="keep", suspicious=False):
    return carry.import_(door, "beta", carry.read(folder, ()), activation, asked.append, suspicious=suspicious)


def did(carried):
    return {row.id: row.did for row in carried.workflows}


def test_an_export_carried_to_another_fleet_is_the_same_and_a_second_time_nothing(tmp_path, asked):
    """Written, created with the other's credential, unchanged; and exported there, the same bytes."""
    here, there = Door(workflow("a"), workflow("b", "Bonjour")), Door()
    assert did(export(here, tmp_path / "w", asked)) == {"a": "written", "b": "written"}
    assert did(export(here, tmp_path / "w", asked)) == {"a": "unchanged", "b": "unchanged"}
    assert did(bring(there, tmp_path / "w", asked)) == {"a": "created", "b": "created"}
    assert did(bring(there, tmp_path / "w", asked)) == {"a": "unchanged", "b": "unchanged"}
    assert len(there.calls) == 1
    export(there, tmp_path / "back", asked)
    for name in ("hello.json", "bonjour.json"):
        assert (tmp_path / "w" / name).read_bytes() == (tmp_path / "back" / name).read_bytes()
    assert asked == []


def test_overwriting_is_asked_about_on_both_ends(tmp_path, asked):
    """By name, before anything is done; a no leaves everything as it was."""
    here, there = Door(workflow("a")), Door(workflow("a", url="https://other.example"))
    export(here, tmp_path, asked)

    def no(question):
        asked.append(question)
        raise UsageError("not confirmed")

    before = (tmp_path / "hello.json").read_bytes()
    for call in (
        lambda: carry.export(there, "beta", tmp_path, (), no, suspicious=False),
        lambda: carry.import_(there, "beta", carry.read(tmp_path, ()), "keep", no, suspicious=False),
    ):
        with pytest.raises(UsageError, match="not confirmed"):
            call()
    assert "hello.json" in asked[0]
    assert "Hello" in asked[1]
    assert (tmp_path / "hello.json").read_bytes() == before
    assert there.calls == []
    assert did(bring(there, tmp_path, asked)) == {"a": "updated"}


def test_what_looks_like_a_secret_goes_neither_way_unless_told(tmp_path, asked):
    """The place is told and the value is not; nothing is written or stored."""
    secret = {"headerParameters": {"parameters": [{"name": "Authorization", "value": "Bearer abcdefgh12345678"}]}}
    here, there = Door(workflow("a", **secret), workflow("b", "Clean")), Door()
    with pytest.raises(UsageError) as error:
        export(here, tmp_path / "w", asked)
    assert "headerParameters.parameters[0].value" in error.value.details[0]
    assert "abcdefgh" not in json.dumps(error.value.told())
    assert not (tmp_path / "w").exists()
    export(here, tmp_path / "w", asked, suspicious=True)
    with pytest.raises(UsageError, match="nothing was changed"):
        bring(there, tmp_path / "w", asked)
    assert there.calls == []
    assert did(bring(there, tmp_path / "w", asked, suspicious=True)) == {"a": "created", "b": "created"}


def test_activation_is_as_asked(tmp_path, asked):
    """Kept by default: a new one is off. On and off reach those that are the same already too, and only once."""
    here, there = (
        Door(workflow("a"), workflow("b", "Bonjour", active=True)),
        Door(workflow("b", "Bonjour", active=True)),
    )
    export(here, tmp_path, asked)
    assert {row.id: row.active for row in bring(there, tmp_path, asked).workflows} == {"a": False, "b": True}
    assert [row.active for row in bring(there, tmp_path, asked, "on").workflows] == [True, True]
    assert there.calls[-1] == ([], {"a": True})
    calls = len(there.calls)
    bring(there, tmp_path, asked, "on")
    assert len(there.calls) == calls
    assert [row.active for row in bring(there, tmp_path, asked, "off").workflows] == [False, False]


def test_a_missing_credential_is_told_and_a_refusal_is_partial(tmp_path, asked):
    """The others are there; the command ends with 3 and says which is not."""
    export(Door(workflow("a"), workflow("b", "Bonjour")), tmp_path, asked)
    done = bring(Door(credentials=()), tmp_path, asked)
    assert "this n8n has no credential Vault" in done.warnings[0]
    assert done.error() is None
    done = bring(Door(workflow("a", url="https://x.example"), refused=("a",)), tmp_path, asked)
    assert did(done) == {"a": "failed", "b": "created"}
    assert done.error().exit_code == 3
    assert "it is active" in done.error().details[0]


def test_one_workflow_by_name_or_id_and_an_unknown_one(tmp_path, asked):
    """The others are not written; an unknown name lists those that there are. Files of none are told."""
    door = Door(workflow("a"), workflow("b", "Bonjour"))
    (tmp_path / "old-name.json").write_text("{}")
    done = export(door, tmp_path, asked, "Hello")
    assert did(done) == {"a": "written"}
    assert "old-name.json" in done.warnings[0]
    assert did(export(door, tmp_path, asked, "b")) == {"b": "written"}
    with pytest.raises(UsageError) as error:
        export(door, tmp_path, asked, "None such")
    assert "Bonjour, Hello" in (error.value.hint or "")


def test_two_files_of_one_workflow_are_refused(tmp_path):
    """Which of them it is, nobody could tell afterwards."""
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_bytes(files.text(files.document(workflow("a"))))
    with pytest.raises(UsageError, match=r"one\.json and two\.json"):
        carry.read(tmp_path, ())
    with pytest.raises(UsageError, match="no workflow in"):
        carry.read(tmp_path / "none", ())
