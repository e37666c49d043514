"""A fleet with several GPU hosts of one name: their keys, and what each host should be."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from otobotctl import secrets
from otobotctl.converge import early
from otobotctl.errors import HostUnreachableError, ManifestError, PartialError, StepFailedError, UsageError
from otobotctl.fleet import Fleet
from otobotctl.workflows import converging, peers, recipients
from otobotctl.workflows.converging import HostRun
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu import hosts, keys, models, token

HOST = {"stack": "gpu", "gpu": {"domain": "ia.example", "email": "it@ia.example", "cpu": True, "models": ["tiny:1b"]}}


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Two hosts of one name and one of another, and an operator who can open what is sealed."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n")
    monkeypatch.setenv("OTOBOTCTL_IDENTITY", str(tmp_path / "identity"))
    hosts = {f"gpu-{n}": {**HOST, "address": f"10.9.0.{n}"} for n in (1, 2, 3)}
    hosts["gpu-3"] = {**hosts["gpu-3"], "gpu": {**HOST["gpu"], "domain": "other.example"}}
    document = {"version": 1, "recipients": [str(identity.to_public())], "hosts": hosts}
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet/clients-config.json").write_text(json.dumps(document))
    return Fleet(tmp_path / "fleet")


def test_keys_are_minted_once_for_hosts_that_share_a_name(fleet):
    """Sealed for the fleet's recipients, and nowhere in clear; a host alone has none."""
    loaded = load(fleet)
    with pytest.raises(ManifestError, match="gpu-1 has no key yet") as raised:
        converging.desired_of(loaded, "gpu-1")
    assert raised.value.hint.startswith("otobotctl gpu setup gpu-1")
    for name in ("gpu-1", "gpu-3", "gpu-1"):
        peers.mint(loaded, loaded.manifest.host(name))
    found = peers.known(loaded, loaded.manifest.host("gpu-2"))
    assert list(found) == ["gpu-1", "gpu-2"]
    assert len({each.reveal() for each in found.values()}) == 2
    assert not fleet.host("gpu-3").exists()
    written = b"".join(path.read_bytes() for path in fleet.root.rglob("*") if path.is_file())
    assert all(each.reveal().encode() not in written for each in found.values())
    assert recipients.listed(fleet)[0].opens == ("gpu-1", "gpu-2")


def test_each_host_gets_the_same_list_and_its_own_key_which_is_shown_nowhere(fleet):
    """Its proxy is told to read them again by their digest."""
    loaded = load(fleet)
    peers.mint(loaded, loaded.manifest.host("gpu-1"))
    of_one, of_two, of_three = (steps_of(fleet, name) for name in ("gpu-1", "gpu-2", "gpu-3"))
    assert of_one["ia/pool-peers.pem"].data() == of_two["ia/pool-peers.pem"].data()
    key = of_one["ia/pool-peer.key"]
    assert (key.path, key.mode, key.secret) == ("/etc/otobot/ia-proxy/peer.key", "0600", True)
    assert key.data() != of_two["ia/pool-peer.key"].data()
    assert {each.reveal() for each in peers.known(loaded, loaded.manifest.host("gpu-1")).values()} <= set(
        converging.desired_of(loaded, "gpu-1").mask
    )
    digest = of_one["pool/read"].unless[-1]
    assert digest in of_one["ia/pool-digest.caddy"].data().decode()
    assert digest != of_two["pool/read"].unless[-1]
    assert not [name for name in of_three if "pool" in name]


def test_a_gpu_host_is_applied_before_the_hosts_of_those_who_may_ask_it(fleet, monkeypatch):
    """Side by side nobody knows whose thread comes first: each mints the callers' keys, and all get the same."""
    document = json.loads(fleet.manifest.read_text())
    document["hosts"]["vps-1"] = {"address": "10.9.0.9"}
    document["hosts"]["gpu-3"]["gpu"] = {**HOST["gpu"], "domain": "other.example", "callers": {"acme": {}}}
    acme = {"company": "ACME", "email": "it@acme.example", "domain": "acme.example", "host": "vps-1", "index": 0}
    document["clients"] = {"acme": {**acme, "services": ["postgres", "mongo", "librechat"]}}
    fleet.manifest.write_text(json.dumps(document))
    wanted = []

    def converge(_reached, desired, *_):
        wanted.append(desired)
        return HostRun(desired.host, 1, (), 0.0)

    monkeypatch.setattr(converging, "converge", converge)
    monkeypatch.setattr(early, "reaching", lambda *_, **__: contextlib.nullcontext())
    loaded = load(fleet)
    with ThreadPoolExecutor(3) as together:
        applied = [together.submit(converging.apply_loaded, loaded, name, None) for name in ("gpu-3", "vps-1", "gpu-3")]
    assert [each.result().host for each in applied] == ["gpu-3", "vps-1", "gpu-3"]
    of_gpu = [each.mask for each in wanted if each.host == "gpu-3"]
    assert of_gpu[0] == of_gpu[1]
    assert set(of_gpu[0]) >= {each.reveal() for each in converging.secrets.opened(loaded, "acme").values()}


def test_a_key_given_on_one_host_of_a_name_is_given_on_all(fleet):
    """They answer for each other; another name's host is not meant."""
    loaded = load(fleet)
    assert keys._hosts(loaded, "gpu-2") == ("gpu-1", "gpu-2")
    assert keys._hosts(loaded, "gpu-3") == ("gpu-3",)
    assert secrets.read_metadata(fleet.host("gpu-1")) == ()


class Heard:
    """A listener."""

    def __init__(self):
        self.records = []

    def event(self, record):
        self.records.append(record)


@pytest.fixture
def told(monkeypatch):
    """Which stages each host was told; `away` cannot be reached, `stumbles` fails at its models."""

    class Told(dict):
        away = ""
        stumbles = ""

    seen = Told()

    def converge(_, wanted, *_more):
        if wanted.host == seen.away:
            raise HostUnreachableError(f"{wanted.host}: no answer", hint="look at it")
        names = tuple(stage.name for stage in wanted.stages)
        seen.setdefault(wanted.host, []).append(names)
        if wanted.host == seen.stumbles and names == ("models",):
            raise StepFailedError("models/huge:70b: the disk cannot hold it")
        return converging.HostRun(wanted.host, 1, (), 0.1)

    monkeypatch.setattr(converging, "converge", converge)
    return seen


def with_a_client(fleet):
    document = json.loads(fleet.manifest.read_text())
    client = {"company": "ACME", "email": "it@acme.example", "domain": "acme.example", "host": "vps-1"}
    document["hosts"]["vps-1"] = {"address": "10.9.0.9"}
    document["clients"] = {"acme": {**client, "services": ["mongo", "librechat"]}}
    fleet.manifest.write_text(json.dumps(document))


def test_a_host_that_is_away_keeps_no_other_from_refusing_a_key(fleet, told):
    """The rest is told at once, the error names the one, and the key is forgotten only when all know."""
    with_a_client(fleet)
    loaded = load(fleet)
    peers.mint(loaded, loaded.manifest.host("gpu-1"))
    keys.Keys(fleet, "acme", "n8n", Heard()).add()
    assert sorted(told) == ["gpu-1", "gpu-2", "gpu-3"]
    told.clear()
    told.away = "gpu-1"
    with pytest.raises(PartialError, match="1 of 3 hosts failed") as raised:
        keys.Keys(fleet, "acme", "n8n", Heard()).revoke()
    assert "gpu-1: no answer" in raised.value.details[0]
    assert dict(told) == {"gpu-2": [("otobot", "ia")], "gpu-3": [("otobot", "ia")]}
    assert load(fleet).manifest.host("gpu-2").gpu.callers == {}
    assert "IA_INTERNE_API_KEY_N8N" in {each.name for each in secrets.read_metadata(fleet.client("acme"))}
    told.away = ""
    keys.Keys(fleet, "acme", "n8n", Heard()).revoke()
    assert "IA_INTERNE_API_KEY_N8N" not in {each.name for each in secrets.read_metadata(fleet.client("acme"))}


def test_a_host_that_joins_is_made_known_to_the_others_first(fleet, told):
    """The authority may ask one of them about the new one's certificate; who cannot be told is named."""
    done = hosts.setup(fleet, "gpu-2", hosts.Said(), Heard())
    assert done.warnings == ()
    assert list(told) == ["gpu-1", "gpu-2"]
    assert told["gpu-1"] == [("otobot", "ia", "front", "pool")]
    assert len(told["gpu-2"][0]) > 10
    told.away = "gpu-1"
    [warning] = hosts.setup(fleet, "gpu-2", hosts.Said(), Heard()).warnings
    assert warning == "gpu-1 does not know yet how gpu-2 is: gpu-1: no answer; then: otobotctl host apply gpu-1"
    told.clear()
    hosts.setup(fleet, "gpu-3", hosts.Said(), Heard())
    assert list(told) == ["gpu-3"]


def test_a_model_that_comes_or_goes_is_known_to_all_hosts_of_the_name(fleet, told):
    """After it came and before it goes, so that nobody asks for what is not there; its own proxy is told, too."""
    models.pull(fleet, "gpu-1", ("small:2b",), Heard(), None)
    assert load(fleet).manifest.host("gpu-2").pool[0].models == ("tiny:1b", "small:2b")
    assert dict(told) == {"gpu-1": [("models",), ("ia", "pool")], "gpu-2": [("ia", "pool")]}
    told.clear()
    models.remove(fleet, "gpu-1", ("small:2b",), Heard(), None)
    assert dict(told) == {"gpu-1": [("ia", "pool"), ("models",)], "gpu-2": [("ia", "pool")]}
    told.clear()
    models.pull(fleet, "gpu-3", ("small:2b",), Heard(), None)
    assert dict(told) == {"gpu-3": [("models",)]}


def test_a_model_that_was_refused_is_not_on_the_list_afterwards(fleet, told, monkeypatch):
    """Or every later apply would stumble over it; what came stays, and so does what was on the list before."""
    told.stumbles = "gpu-3"
    there = {"models": [{"name": "small:2b"}], "error": ""}
    monkeypatch.setattr(models, "looked", lambda *_: there)
    with pytest.raises(StepFailedError, match="the disk cannot hold it"):
        models.pull(fleet, "gpu-3", ("small:2b", "huge:70b"), Heard(), None)
    assert load(fleet).manifest.host("gpu-3").gpu.models == ("tiny:1b", "small:2b")
    assert dict(told) == {"gpu-3": [("models",)]}


def test_a_token_is_sealed_and_reaches_the_host_as_a_file_alone(fleet):
    """Of a host with vLLM; nothing that is rendered changes by it, and it goes as it came."""
    with pytest.raises(UsageError, match="gpu-3 runs no vLLM"):
        token.set_token(fleet, "gpu-3", "hf_x")
    document = json.loads(fleet.manifest.read_text())
    document["hosts"]["gpu-3"]["gpu"] |= {"engine": "vllm", "models": ["a/b"], "cpu": False}
    fleet.manifest.write_text(json.dumps(document))
    before = steps_of(fleet, "gpu-3")
    with pytest.raises(UsageError, match="no token"):
        token.set_token(fleet, "gpu-3", "two words")
    assert token.set_token(fleet, "gpu-3", "hf_very_secret").there
    after = steps_of(fleet, "gpu-3")
    assert {name for name in after if after[name] != before[name]} == {"ia/token"}
    assert (after["ia/token"].data(), after["ia/token"].mode, after["ia/token"].secret) == (
        b"hf_very_secret",
        "0600",
        True,
    )
    assert "hf_very_secret" in converging.desired_of(load(fleet), "gpu-3").mask
    assert all(b"hf_very_secret" not in path.read_bytes() for path in fleet.root.rglob("*") if path.is_file())
    assert not token.set_token(fleet, "gpu-3", "").there
    assert steps_of(fleet, "gpu-3") == before


def steps_of(fleet, name):
    return {step.name: step.spec for stage in converging.desired_of(load(fleet), name).stages for step in stage.steps}
