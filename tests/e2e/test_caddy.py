"""The other proxy: what a client with caddy in nginx's place answers from outside, and what it does not."""

from __future__ import annotations

import json

import pytest

from tests.e2e.containers import all_healthy
from tests.e2e.operator import Operator
from tests.e2e.site import answers, browser, echoed
from tests.e2e.visitors import Visitors

pytestmark = pytest.mark.timeout(1500)

DOMAIN = "gamma.example"


def test_a_host_with_caddy(make_host, tmp_path):
    """One command to healthy: each name over TLS, a websocket, what is denied, 22, 80 and 443 alone, and no visitor refused."""
    host, operator = make_host("warm"), Operator(tmp_path)
    operator.init()
    operator.add_host("vps-1", host)
    operator.create("gamma", "vps-1", DOMAIN, "postgres", "vault-api", "tooljet", "mongo", "librechat", "caddy")
    assert all_healthy(host, "otobot-gamma")
    assert all_healthy(host, "otobot-front")
    with browser(host.address) as visitor:
        assert visitor.get(f"https://app.{DOMAIN}/api/health").json() == {"works": "yeah"}
        assert visitor.get(f"https://chat.{DOMAIN}/health").text == "OK"
        assert visitor.get(f"https://{DOMAIN}/health").status_code == 200
        assert visitor.get(f"http://app.{DOMAIN}/").headers["location"].startswith(f"https://app.{DOMAIN}")
    assert echoed(host.address, f"app.{DOMAIN}", "/ws", "bonjour") == "bonjour"
    for address in (host.address, host.address6):
        tried = (22, 80, 443, 2019, 2375, 3001, 3080, 5432, 8081, 8082, 27017)
        assert [port for port in tried if answers(address, port)] == [22, 80, 443]
    assert operator.data("host", "apply", "vps-1")["changed"] == []
    manifest = operator.fleet / "clients-config.json"
    changed = json.loads(manifest.read_text())
    changed["clients"]["gamma"]["settings"] = {"vault-api": {"log_level": "debug"}}
    manifest.write_text(json.dumps(changed))
    with Visitors(host, DOMAIN) as visitors:
        operator.run("deploy", "gamma", "--no-backup", "--no-smoke")
    assert visitors.refused() == []
    assert len(visitors.answers) > 10
