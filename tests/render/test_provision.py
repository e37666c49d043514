"""What n8n is fed once it is healthy: whole, with the secrets of the store, and outside the release."""

from __future__ import annotations

import dataclasses
import json

import pytest

from otobotctl.errors import ManifestError
from otobotctl.render.catalog import check
from otobotctl.render.client import guides, render_client
from tests.render.sample import catalog, rendered, resolved, secrets_of

TEMPLATE = "n8n/provision.json.j2"


def fleet(*workflows, services=("postgres", "vault-api", "n8n")):
    """The sample with n8n and these workflows."""

    def change(document):
        document["clients"]["acme"]["services"] = list(services)
        document["clients"]["acme"]["settings"] = {"n8n": {"workflows": list(workflows)}}

    return resolved(change)


def items(release):
    (provision,) = release.provisions
    return {json.loads(text)["id"]: json.loads(text) for text in provision.items}


def test_n8n_gets_its_owner_its_credentials_and_the_chosen_workflows():
    """With the store's values; a chosen workflow brings the one that is told when it fails."""
    found = items(rendered(fleet("drive-to-notion")))
    assert found["owner"]["password"] == "acme-n8n_owner_password-VALUE"
    assert found["otobotApiConnect"]["data"]["internalToken"] == "acme-n8n_internal_token-VALUE"
    assert [each for each in found if found[each]["kind"] == "workflow"] == ["otobotDriveNotio", "otobotErrorAlert"]
    named = {
        (kind, said["id"], said["name"])
        for each in found.values()
        for node in each.get("workflow", {}).get("nodes", ())
        for kind, said in node.get("credentials", {}).items()
    }
    # What the workflows name is what is made here.
    assert named == {(found[i]["type"], i, found[i]["title"]) for i in ("otobotApiConnect", "otobotWebhookKey")}


def test_without_a_vault_there_is_no_credential_for_it():
    """And without workflows none of them."""
    assert list(items(rendered(fleet(services=("postgres", "n8n"))))) == ["owner"]


def test_none_of_it_is_a_file_of_the_release():
    """Neither the template nor the workflows; so choosing one restarts nothing."""
    without, chosen = rendered(fleet()), rendered(fleet("secure-base"))
    assert [file.path for file in chosen.files if "provision.json" in file.path or "workflows/" in file.path] == []
    assert without.digest == chosen.digest
    assert without.provisions != chosen.provisions


def test_an_unknown_workflow_is_a_finding_that_names_the_known():
    """In the manifest, at its place; one that is there twice too."""
    with pytest.raises(ManifestError) as error:
        fleet("secure-bace")
    assert "secure-bace" in str(error.value.details)
    assert "secure-base" in str(error.value.details)
    with pytest.raises(ManifestError) as error:
        fleet("secure-base", "secure-base")
    assert "there twice" in str(error.value.details)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ('[{"name": "{{ secrets.N8N_OWNER_PASSWORD }}",]', "gives no JSON"),
        ('[{"name": "a", "kind": "b", "password": "{{ secrets.N8N_OWNER_PASSWORD }}"}]', "a name, a kind and an id"),
        ('[{"name":"a","kind":"b","id":"1"},{"name":"a","kind":"b","id":"2"}]', "two items of one name"),
    ],
)
def test_a_wrong_template_is_told_without_its_values(template, said):
    """What it gave holds secrets."""
    changed = dataclasses.replace(catalog(), sources={**catalog().sources, TEMPLATE: template})
    here = fleet()
    client = here.client("acme")
    with pytest.raises(ManifestError) as error:
        render_client(client, here.host(client.host), client.index, secrets_of(client), changed)
    assert said in str(error.value)
    assert "VALUE" not in repr(error.getrepr(chain=True))


def test_a_service_whose_template_is_missing_is_refused():
    """When the catalogue is read."""
    sources = {name: text for name, text in catalog().sources.items() if name != TEMPLATE}
    with pytest.raises(ManifestError) as error:
        check(dataclasses.replace(catalog(), sources=sources))
    assert "n8n: provision needs provision.json.j2" in str(error.value.details)


def test_a_guide_has_the_clients_own_names_and_no_secret():
    """What ToolJet needs from a person; other services have none, and it is no file of the release."""
    here = fleet(services=("postgres", "vault-api", "tooljet"))
    client = here.client("acme")
    found = guides(client, here.host(client.host), catalog())
    assert list(found) == ["tooljet"]
    for said in ("https://app.acme.example/setup", "it@acme.example", "secrets show acme TOOLJET_ADMIN_PASSWORD"):
        assert said in found["tooljet"]
    assert "VALUE" not in found["tooljet"]
    assert [file.path for file in rendered(here).files if "guide" in file.path] == []
