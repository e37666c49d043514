"""Defaults and environments, applied."""

import pytest

from otobotctl import manifest
from otobotctl.errors import ManifestError
from tests.manifest.sample import SERVICES, encoded, right


def resolved(document):
    return manifest.resolve(manifest.decode(encoded(document), "x", SERVICES))


def test_a_clients_words_win_over_its_environment_and_that_over_the_defaults():
    """Settings merge one by one, the nearest layer last."""
    found = resolved(right())
    assert found.clients["acme"].settings["postgres"] == {"memory": "1g", "version": "16.4"}
    assert found.clients["bold"].settings == {"nginx": {}, "postgres": {"memory": "512m"}}
    assert found.clients["acme"].environment == "prod"
    assert found.clients["bold"].services == ("nginx", "postgres")
    assert found.clients["acme"].services == ("postgres", "vault-api", "token-refresher", "nginx")


def test_backup_policies_merge_field_by_field():
    """What a client does not say of its backups comes from its environment, then the defaults, then us."""
    bold = resolved(right()).clients["bold"].backup
    assert (bold.schedule, bold.keep_daily, bold.keep_weekly, bold.before_deploy) == ("never", 3, 12, True)


def test_every_field_of_a_host_is_concrete():
    """Where Docker comes from, by the host's own word or the defaults'."""
    found = resolved(right())
    assert found.hosts["vps-1"].docker == "distribution"
    assert found.hosts["gate"].docker == "upstream"


def test_a_domain_is_resolved_to_one_spelling():
    """Case and a trailing dot do not travel into what is rendered."""
    document = right()
    document["clients"]["acme"]["domain"] = "Acme.Example."
    assert resolved(document).clients["acme"].domain == "acme.example"


def test_a_clients_slot_stays_when_another_leaves():
    """Ports derive from the slot, so it must not move with the file."""
    document = right()
    before = resolved(document).clients["bold"].index
    del document["clients"]["acme"]
    after = resolved(document)
    assert after.clients["bold"].index == before == 1
    assert [client.slug for client in after.clients_of("vps-1")] == ["bold"]


def test_an_unknown_name_is_answered_with_the_nearest():
    """Asking for a client or host that is not there says what is."""
    found = resolved(right())
    with pytest.raises(ManifestError) as caught:
        found.client("acm")
    assert caught.value.hint == 'did you mean "acme"?'
    with pytest.raises(ManifestError) as caught:
        found.host("x")
    assert caught.value.hint == "hosts: gate, vps-1"
