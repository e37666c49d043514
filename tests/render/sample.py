"""A host with two clients, resolved as the commands resolve a manifest, and secrets to render them with."""

import copy
import json
from functools import cache

from otobotctl import manifest
from otobotctl.render.catalog import load_catalog
from otobotctl.render.client import render_client
from otobotctl.render.document import parse_yaml
from otobotctl.render.front import render_front
from otobotctl.secrets import Secret

DOCUMENT = {
    "version": 1,
    "hosts": {"vps-1": {"address": "203.0.113.10"}},
    "clients": {
        "acme": {
            "company": 'ACME "Société" & $Fils <SAS>',
            "email": "it@acme.example",
            "host": "vps-1",
            "domain": "acme.example",
        },
        "beta": {
            "company": "Beta",
            "email": "it@beta.example",
            "host": "vps-1",
            "domain": "beta.example",
            "index": 1,
            "tls": "self-signed",
        },
    },
}

# Every service that runs for a client alone, in the stack's order.
EVERYTHING = ("postgres", "redis", "mongo", "vault-api", "token-refresher", "n8n", "tooljet", "librechat")

catalog = cache(load_catalog)


def resolved(change=lambda _document: None, archives=None):
    """The sample, changed and resolved; it must be a valid manifest."""
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return manifest.resolve(
        manifest.decode(json.dumps(document).encode(), "clients-config.json", catalog().service_shapes()),
        archives or {},
    )


def secrets_of(client):
    """A value for every secret of a client, each to be found again in what is rendered."""
    specs = catalog().secret_specs(client.services)
    return {spec.name: Secret(spec.name, f"{client.slug}-{spec.name.lower()}-VALUE") for spec in specs}


def rendered(fleet, slug="acme", **others):
    """The release of one client. `others` are secrets in place of the sample's, or beside them."""
    client = fleet.client(slug)
    return render_client(client, fleet.host(client.host), client.index, {**secrets_of(client), **others}, catalog())


def front(fleet, host="vps-1"):
    """The release of the host's proxy."""
    return render_front(fleet.host(host), fleet.clients_of(host), catalog())


def text(release, path):
    """The text of one file of a release."""
    return release.file(path).content.decode()


def composed(release):
    """The compose.yaml of a release as data."""
    return parse_yaml(text(release, "compose.yaml"), "compose.yaml")
