"""A fleet with several GPU hosts of one name: their keys, and what each host should be."""

import json

import pytest

from otobotctl import secrets
from otobotctl.errors import ManifestError, UsageError
from otobotctl.fleet import Fleet
from otobotctl.workflows import converging, peers, recipients
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu import keys, token

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


def test_a_key_given_on_one_host_of_a_name_is_given_on_all(fleet):
    """They answer for each other; another name's host is not meant."""
    loaded = load(fleet)
    assert keys._hosts(loaded, "gpu-2") == ("gpu-1", "gpu-2")
    assert keys._hosts(loaded, "gpu-3") == ("gpu-3",)
    assert secrets.read_metadata(fleet.host("gpu-1")) == ()


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
