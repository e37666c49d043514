"""Whatever a valid manifest says, it renders, and what is rendered keeps its promises."""

import json
import posixpath

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otobotctl import manifest
from otobotctl.manifest import words
from otobotctl.render.client import render_client
from otobotctl.render.front import render_front
from tests.render.sample import EVERYTHING, catalog, composed, secrets_of

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAIN = st.builds("{}.{}.example".format, LABEL, LABEL)
LINE = st.text(min_size=1, max_size=40).filter(lambda text: words.line(text) is None)
SLUG = st.from_regex(words.SLUG, fullmatch=True).filter(lambda slug: slug != "front")
SERVICES = (
    ["postgres"],
    ["postgres", "nginx"],
    ["postgres", "vault-api"],
    ["nginx", "vault-api", "postgres"],
    ["postgres", "vault-api", "token-refresher", "nginx"],
    ["postgres", "n8n"],
    ["postgres", "redis", "n8n", "tooljet", "nginx"],
    ["postgres", "mongo", "librechat", "nginx"],
    [*EVERYTHING, "nginx"],
)
PROXIES = ("nginx", "caddy")


def value_of(setting):
    """Any value that a setting may have."""
    if setting.choices and setting.type == "list":
        return st.lists(st.sampled_from(setting.choices), max_size=3, unique=True)
    if setting.choices:
        return st.sampled_from(setting.choices)
    if setting.pattern:
        text = st.from_regex(setting.pattern, fullmatch=True)
        return text.map(int) if setting.type == "integer" else text
    kinds = {
        "boolean": st.booleans(),
        "integer": st.integers(1, 9999),
        "text": LINE,
        "list": st.lists(LINE, max_size=3),
    }
    return kinds[setting.type]


def settings_of(service):
    """Any of a service's own settings; what a host shares is left to the defaults."""
    own = {name: value_of(setting) for name, setting in service.settings.items() if not setting.shared}
    return st.fixed_dictionaries({}, optional=own)


CLIENT = st.fixed_dictionaries(
    {"company": LINE, "email": DOMAIN.map("it@{}".format), "services": st.sampled_from(SERVICES)},
    optional={
        "environment": st.sampled_from(("dev", "stage", "prod")),
        "tls": st.sampled_from(("acme", "self-signed")),
        "timezone": st.sampled_from(("Europe/Paris", "UTC")),
        "settings": st.fixed_dictionaries(
            {}, optional={name: settings_of(catalog().services[name]) for name in (*EVERYTHING, *PROXIES)}
        ),
    },
)


@st.composite
def documents(draw):
    """A manifest with one host and up to four clients on it."""
    clients = draw(st.dictionaries(SLUG, CLIENT, min_size=1, max_size=4))
    domains = draw(st.lists(DOMAIN, min_size=len(clients), max_size=len(clients), unique=True))
    slots = draw(st.lists(st.integers(0, 99), min_size=len(clients), max_size=len(clients), unique=True))
    proxy = draw(st.sampled_from(PROXIES))
    for client, domain, slot in zip(clients.values(), domains, slots, strict=True):
        client.update(host="vps-1", domain=domain, index=slot)
        client["services"] = [proxy if name in PROXIES else name for name in client["services"]]
        if "redis" not in client["services"]:
            client.get("settings", {}).get("n8n", {}).pop("mode", None)
    return {"version": 1, "hosts": {"vps-1": {"address": "203.0.113.10"}}, "clients": clients}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(documents())
def test_every_valid_manifest_renders(document):
    """No port in public but the proxy's, no secret outside environment files, no two clients alike, twice the same."""
    raw = json.dumps(document).encode()
    fleet = manifest.resolve(manifest.decode(raw, "clients-config.json", catalog().service_shapes()))
    host, taken = fleet.host("vps-1"), set()
    for client in fleet.clients.values():
        secrets = secrets_of(client)
        release = render_client(client, host, client.index, secrets, catalog())
        assert release == render_client(client, host, client.index, secrets, catalog())
        open_text = b"".join(file.content for file in release.files if not file.secret)
        assert not any(secret.reveal().encode() in open_text for secret in secrets.values())
        ports = [port for tree in composed(release)["services"].values() for port in tree.get("ports", ())]
        assert all(port.startswith("127.0.0.1:") for port in ports)
        assert taken.isdisjoint(ports)
        taken.update(ports)
    front = render_front(host, fleet.clients_of("vps-1"), catalog())
    served = [client for client in fleet.clients.values() if set(PROXIES) & set(client.services)]
    assert (front is None) == (not served)
    if front:
        sites = {posixpath.splitext(file.path)[0] for file in front.files if "/sites/" in file.path}
        assert sites == {f"{front.services[0]}/sites/{client.slug}" for client in served}
        assert not any(file.secret for file in front.files)
