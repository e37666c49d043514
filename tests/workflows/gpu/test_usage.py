"""A month from the proxy's log to a table: entries as both Caddys write them, put together over hosts."""

import gzip
import json

from otobotctl.agent.kinds import gpu_usage
from otobotctl.cli.human import usage as human
from otobotctl.workflows.gpu.usage import Usage, counted


def entry(day, *, user="acme/librechat", uri="/v1/chat/completions", status=200, seconds=0.7, size=1000, month=11):
    """A line of the log; a moment of that day, UTC."""
    import calendar

    ts = calendar.timegm((2026, month, day, 12, 0, 0)) + 0.25
    request = {"remote_ip": "203.0.113.9", "method": "POST", "uri": uri}
    said = {"level": "info", "ts": ts, "msg": "handled request", "request": request, "user_id": user}
    return json.dumps({**said, "duration": seconds, "size": size, "status": status})


def asked(folder):
    return gpu_usage.probe({"month": "2026-11", "logs": str(folder)})


def test_logs_are_counted_by_caller_path_and_day_also_compressed_ones(tmp_path):
    """Another month is left out, and what is no entry is counted as such."""
    (tmp_path / "access.log").write_text("\n".join([entry(21), entry(21), entry(22), entry(1, month=12), "{", ""]))
    with gzip.open(tmp_path / "access-2026-11-02T00-00-00.000.log.gz", "wt") as old:
        old.write(entry(1, user="beta/n8n", seconds=300.0) + "\n")
    facts = asked(tmp_path)
    assert [(row["caller"], row["day"], row["requests"]) for row in facts["rows"]] == [
        ("acme/librechat", 21, 2),
        ("acme/librechat", 22, 1),
        ("beta/n8n", 1, 1),
    ]
    assert facts["unread"] == 1
    assert facts["rows"][2]["took"][-1] == 1


def test_who_has_no_key_cannot_fill_the_answer_with_paths(tmp_path):
    """Each of a thousand guesses is counted, in one row."""
    (tmp_path / "access.log").write_text("\n".join(entry(3, user="", uri=f"/{n}", status=401) for n in range(1000)))
    [row] = asked(tmp_path)["rows"]
    assert (row["caller"], row["path"], row["requests"], row["refused"]) == ("", "", 1000, 1000)


def test_hosts_are_put_together_and_shown(tmp_path):
    """By caller, the busiest first, with the times that half and nearly all stayed below; no logs are no callers."""
    assert asked(tmp_path)["rows"] == []
    lines = [entry(day, seconds=0.2) for day in range(1, 11)] + [entry(11, seconds=60.0, status=502)]
    (tmp_path / "access.log").write_text("\n".join([*lines, entry(4, user="", status=401)]))
    facts = asked(tmp_path)
    acme, nobody = counted([facts, facts])
    assert (acme.client, acme.purpose, acme.requests, acme.refused, acme.bytes) == ("acme", "librechat", 22, 2, 22000)
    assert (acme.half_s, acme.most_s) == (0.25, 100.0)
    assert acme.by_day[11] == 2
    assert acme.by_path == {"/v1/chat/completions": 20}
    assert nobody.client == ""
    found = Usage("2026-11", ("gpu-1", "gpu-2"), (acme, nobody), ())
    assert "acme" in human.table(found)
    page = human.page(found)
    assert page.count("<rect") == 62
    assert "<title>11: 2</title>" in page
