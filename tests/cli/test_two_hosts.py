"""One company on two hosts: each of its entries has names, secrets and networks of its own. The real command, no host."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.operator import Operator

SERVICES = ("postgres", "redis", "vault-api", "token-refresher", "n8n", "tooljet", "mongo", "librechat", "nginx")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Acme in production on one host and its staging on another, rendered to files; the operator and the two folders."""
    operator = Operator(tmp_path_factory.mktemp("operator"))
    operator.init()
    folders = {}
    for number, (slug, domain) in enumerate((("acme", "acme.example"), ("acme-stage", "stage.acme.example")), 1):
        operator.run("host", "add", f"vps-{number}", "--address", f"203.0.113.{number}", "--user", "root")
        chosen = [word for service in SERVICES for word in ("--service", service)]
        operator.run(
            "client", "create", slug, "--company", "ACME SAS", "--email", "it@acme.example", "--host", f"vps-{number}",
            "--domain", domain, *chosen, "--environment", "prod" if slug == "acme" else "stage",
        )  # fmt: skip
        folders[slug] = operator.home / slug
        operator.run("client", "render", slug, "--out", str(folders[slug]))
    return operator, folders


def text(folder):
    return "\n".join(path.read_text() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".tar")


def test_no_secret_is_shared(rendered):
    """Not one value of one entry is a value of the other, or stands in the other's files."""
    operator, folders = rendered
    one, two = operator.secrets("acme"), operator.secrets("acme-stage")
    assert one.keys() == two.keys()
    assert len(one) >= 20
    assert not set(one.values()) & set(two.values())
    assert not [name for name, value in one.items() if value in text(folders["acme-stage"])]
    assert [name for name, value in two.items() if value in text(folders["acme-stage"])]  # the control


def test_no_name_network_or_volume_is_shared(rendered):
    """Host names, projects, networks and volumes of the two are apart."""
    _, folders = rendered
    names = {slug: set(re.findall(r"\b(?:[a-z0-9-]+\.)*acme\.example\b", text(folders[slug]))) for slug in folders}
    assert not {name for name in names["acme"] if name.endswith("stage.acme.example")}
    assert {name for name in names["acme-stage"] if not name.startswith("it@")} <= {
        "acme.example", "stage.acme.example", "n8n.stage.acme.example", "app.stage.acme.example", "chat.stage.acme.example",
    }  # fmt: skip
    projects = [
        re.search(r"^name: (\S+)$", (folders[slug] / "compose.yaml").read_text(), re.MULTILINE)[1] for slug in folders
    ]
    assert projects == ["otobot-acme", "otobot-acme-stage"]


def test_a_name_that_one_entry_has_is_refused_to_another(rendered):
    """The same domain for a third entry, on either host, is refused before anything is written."""
    operator, _ = rendered
    before = (operator.fleet / "clients-config.json").read_text()
    for host, name in (("vps-1", "acme.example"), ("vps-2", "acme.example"), ("vps-1", "n8n.acme.example")):
        refused = operator.run(
            "client", "create", "other", "--company", "Other", "--email", "a@b.example", "--host", host,
            "--domain", name, "--json", check=False,
        )  # fmt: skip
        assert refused.returncode == 10
        assert name in json.dumps(json.loads(refused.stdout)["error"])
    assert (operator.fleet / "clients-config.json").read_text() == before
