"""`client guide` as it is typed."""

from __future__ import annotations

import json

from otobotctl.cli.main import main

_ACME = {"company": "ACME", "email": "it@acme.example", "host": "vps-1", "domain": "acme.example"}


def test_a_guide_answers_by_service_and_says_where_there_is_nothing_to_do(tmp_path, capsys):
    """With the client's own names; a client without such a service has nothing left for a person."""
    services = {"acme": ["postgres", "redis", "tooljet", "nginx"], "bold": ["postgres", "n8n", "nginx"]}
    clients = {
        slug: {**_ACME, "domain": f"{slug}.example", "index": index, "services": of}
        for index, (slug, of) in enumerate(services.items())
    }
    document = {"version": 1, "hosts": {"vps-1": {"address": "203.0.113.10"}}, "clients": clients}
    (tmp_path / "clients-config.json").write_text(json.dumps(document))
    assert main(["client", "guide", "acme", "--json", "--fleet", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["command"], said["ok"], list(said["data"]["guides"])) == ("client guide", True, ["tooljet"])
    assert "app.acme.example" in said["data"]["guides"]["tooljet"]
    assert main(["client", "guide", "bold", "--fleet", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "nothing has to be done by hand\n"
