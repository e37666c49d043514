"""compose.yaml: fragments laid over data, and what no fragment may do."""

from dataclasses import replace

import pytest
import yaml

from otobotctl.errors import ManifestError
from otobotctl.render import compose
from otobotctl.render.client import render_client
from tests.render.sample import catalog, composed, rendered, resolved, secrets_of, text


def render_with(fragment):
    """Render the sample's first client with another fragment for the vault."""
    fleet = resolved()
    client = fleet.client("acme")
    sources = {**catalog().sources, "vault-api/compose.yaml.j2": fragment}
    return render_client(client, fleet.host("vps-1"), 0, secrets_of(client), replace(catalog(), sources=sources))


def test_mappings_merge_lists_join_and_the_rest_is_replaced():
    """A fragment says only what it adds or changes."""
    below = {"a": {"x": 1, "y": [1]}, "b": "old"}
    assert compose.merge(below, {"a": {"y": [2], "z": 3}, "b": "new"}) == {
        "a": {"x": 1, "y": [1, 2], "z": 3},
        "b": "new",
    }


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ('ports: ["3001:3001"]', "publishes 3001:3001"),
        ('ports: ["0.0.0.0:3001:3001"]', r"publishes 0\.0\.0\.0:3001:3001"),
        ("ports: [{target: 3001, published: 3001}]", "publishes"),
        ("network_mode: host", "is on the host's network"),
        ("privileged: true", "sets privileged"),
        ("image: otobot/vault-api", "has no pinned image"),
        ("image: localhost:5000/vault-api", "has no pinned image"),
        ("image: otobot/vault-api:latest", "has no pinned image"),
        ("depends_on: {redis: {condition: service_healthy}}", "waits for redis"),
        ('volumes: ["./vault-api:/etc/vault"]', "no file of its release"),
    ],
)
def test_what_no_container_may_do_is_refused(said, wrong):
    """A template that would open a port, gain rights or float on a tag is not rendered."""
    with pytest.raises(ManifestError, match=wrong):
        render_with(f"services:\n  vault-api:\n    {said}\n")


def test_a_fragment_is_compose_and_nothing_else():
    """A misspelt section is not silently lost."""
    with pytest.raises(ManifestError, match=r"vault-api/compose\.yaml\.j2: .* found \['service'\]"):
        render_with("service: {}\n")
    with pytest.raises(ManifestError, match=r"vault-api/compose\.yaml\.j2:3: not YAML"):
        render_with("services:\n  - a\n b: [\n")


def test_compose_substitutes_nothing():
    """A dollar sign in a value stays one: Compose reads two as one."""
    tree = {"services": {"a": {"command": ["echo", "$HOME", "${X}"]}}}
    assert yaml.safe_load(compose.dump(tree)) == {"services": {"a": {"command": ["echo", "$$HOME", "$${X}"]}}}


def test_repeated_parts_are_written_out():
    """No anchors: what a container has is read where the container is."""
    written = text(rendered(resolved()), "compose.yaml")
    assert "&id" not in written
    assert "*id" not in written


def test_waiting_for_databases_is_waiting_for_their_initialisation():
    """The vault starts when its database and roles are there."""
    services = composed(rendered(resolved()))["services"]
    done = {"condition": "service_completed_successfully"}
    assert services["vault-api"]["depends_on"] == {"postgres-init": done, "vault-migrate": done}
    assert services["vault-migrate"]["depends_on"] == {"postgres-init": done}
    assert services["postgres-init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["postgres-init"]["restart"] == "no"
