"""Who may ask: what a call does to the fleet, and what it says is to be done next."""

import json
from types import SimpleNamespace

import pytest

from otobotctl import secrets
from otobotctl.errors import DriftError
from otobotctl.fleet import Fleet
from otobotctl.render.ia_keys import key_name
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu import keys

GPU = {"domain": "ia.example", "email": "it@ia.example", "cpu": True, "models": ["tiny:1b"]}
SERVICES = ["postgres", "vault-api", "n8n", "mongo", "librechat"]
DEPLOYED = ["n8n", "vault", "librechat"]


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """A GPU host that is told nothing here, a client with every service that takes a key, and an operator."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n")
    monkeypatch.setenv("OTOBOTCTL_IDENTITY", str(tmp_path / "identity"))
    monkeypatch.setattr(keys, "tell", lambda *_: ())
    hosts = {"gpu-1": {"address": "10.9.0.1", "stack": "gpu", "gpu": GPU}, "vps-1": {"address": "10.9.0.2"}}
    acme = {"company": "ACME", "email": "it@acme.example", "domain": "acme.example", "host": "vps-1", "index": 0}
    document = {"version": 1, "recipients": [str(identity.to_public())], "hosts": hosts}
    document["clients"] = {"acme": {**acme, "services": SERVICES}}
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet/clients-config.json").write_text(json.dumps(document))
    return Fleet(tmp_path / "fleet")


def of(fleet, purpose):
    return keys.Keys(fleet, "acme", purpose, None)


def values(fleet):
    """Everything sealed for the client."""
    store = secrets.open_store(fleet.client("acme"), secrets.identities())
    return {name: value.reveal() for name, value in store.values.items()}


@pytest.mark.parametrize("purpose", [*DEPLOYED, "ci"])
def test_each_call_says_what_is_due(fleet, purpose):
    """A deploy, where a service of the client takes the key; a purpose of somebody's own is shown to whoever needs it."""
    name = key_name(purpose)
    due = "otobotctl deploy acme" if purpose in DEPLOYED else f"otobotctl secrets show acme {name}"
    assert of(fleet, purpose).add().next == due
    rotated = of(fleet, purpose).rotate()
    assert rotated.next == f"{due}; then: otobotctl gpu keys rotate acme --purpose {purpose} --finish"
    assert load(fleet).manifest.client("acme").ia[purpose].url == "https://ia.example/v1"


@pytest.mark.parametrize("purpose", [*DEPLOYED, "ci"])
def test_a_key_grows_old_like_every_secret(fleet, purpose):
    """`secrets status` knows it, once, as long as its client is a caller; `secrets rotate` says who exchanges it."""

    def known() -> list:
        loaded = load(fleet)
        every = loaded.catalog.specs_of(loaded.manifest.client("acme"))
        return [(each.rotate_days, each.rotation) for each in every if each.name == key_name(purpose)]

    before = known()
    assert before == ([(180, "refused")] if purpose == "librechat" else [])
    of(fleet, purpose).add()
    assert known() == [(180, "refused")]
    of(fleet, purpose).revoke()
    assert known() == before


@pytest.mark.parametrize("purpose", DEPLOYED)
def test_the_value_before_ends_only_once_the_client_has_the_new_one(fleet, monkeypatch, purpose):
    """Whatever differs on its host keeps both valid."""
    plan = SimpleNamespace(steps=("provision",))
    monkeypatch.setattr(keys.converging, "plan_client", lambda *_: plan)
    of(fleet, purpose).add()
    of(fleet, purpose).rotate()
    with pytest.raises(DriftError, match="both stay valid") as raised:
        of(fleet, purpose).finish()
    assert raised.value.hint == "otobotctl deploy acme"
    assert values(fleet)[secrets.previous(key_name(purpose))]
    plan.steps = ()
    of(fleet, purpose).finish()
    assert secrets.previous(key_name(purpose)) not in values(fleet)


def test_a_purpose_of_somebodys_own_waits_for_no_deploy(fleet, monkeypatch):
    """Nothing on the client's host uses it."""
    monkeypatch.setattr(keys.converging, "plan_client", lambda *_: pytest.fail("asked"))
    of(fleet, "ci").add()
    of(fleet, "ci").rotate()
    of(fleet, "ci").finish()
    assert list(values(fleet)) == ["IA_INTERNE_API_KEY_CI"]


@pytest.mark.parametrize("rotating", [False, True])
@pytest.mark.parametrize("purpose", ["n8n", "vault"])
def test_a_revoked_key_is_forgotten_and_the_next_deploy_removes_it(fleet, purpose, rotating):
    """Its entry stays without a value, also when it is revoked again; a new key takes its place."""
    first = of(fleet, purpose).add() and values(fleet)[key_name(purpose)]
    if rotating:
        of(fleet, purpose).rotate()
    for _ in range(2):
        assert of(fleet, purpose).revoke().next == "otobotctl deploy acme"
        assert values(fleet) == {key_name(purpose): ""}
    assert keys.listed(fleet) == ()
    of(fleet, purpose).add()
    assert values(fleet)[key_name(purpose)] not in {"", first}
    assert [each.state for each in keys.listed(fleet)] == ["valid"]


@pytest.mark.parametrize("purpose", ["librechat", "ci"])
def test_a_revoked_key_that_no_deploy_stored_leaves_nothing(fleet, purpose):
    """Neither does one that there never was."""
    of(fleet, purpose).add()
    assert of(fleet, purpose).revoke().next == ""
    of(fleet, "n8n").revoke()
    assert values(fleet) == {}
