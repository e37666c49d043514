"""A month from the proxy's log to a table: entries as both Caddys write them, put together over hosts."""

import calendar
import gzip
import json
import os

import pytest

from otobotctl.agent import metered as agent
from otobotctl.agent.kinds import gpu_usage
from otobotctl.agent.run import ProbeError
from otobotctl.cli.human import usage as human
from otobotctl.workflows.gpu.usage import Tokens, Usage, counted


def entry(day, *, user="acme/librechat", uri="/v1/chat/completions", status=200, seconds=0.7, size=1000, month=11):
    """A line of the log; a moment of that day, UTC."""
    ts = calendar.timegm((2026, month, day, 12, 0, 0)) + 0.25
    request = {"remote_ip": "203.0.113.9", "method": "POST", "uri": uri}
    said = {"level": "info", "ts": ts, "msg": "handled request", "request": request, "user_id": user}
    return json.dumps({**said, "duration": seconds, "size": size, "status": status})


def metered(day, *, user="acme/librechat", model="tiny:1b", month=11, **changes):
    """A line of the meter's."""
    ts = calendar.timegm((2026, month, day, 12, 0, 0)) + 0.25
    said = {"ts": ts, "caller": user, "path": "/api/chat", "model": model, "status": 200, "end": "whole", "told": True}
    return json.dumps({**said, "tokens_in": 5, "tokens_out": 8, "first_ms": 70.0, "ms": 700.0, "bytes": 900, **changes})


def asked(folder):
    return gpu_usage.probe({"month": "2026-11", "logs": str(folder), "usage": str(folder)})


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
    assert "<strong>" not in page
    assert "<strong>gpu-3 could" in human.page(Usage("2026-11", (), (), ("gpu-3 could not be asked",)))


def test_models_and_tokens_are_counted_by_caller_and_day(tmp_path):
    """An error late in a 200 is a failure; a count that the engine did not tell is marked; other months are left out."""
    lines = [
        metered(1),
        metered(2, end="error", told=False, tokens_in=0, tokens_out=2),
        metered(2, end="left", told=False, tokens_in=0, tokens_out=3, first_ms=None),
        metered(2, model="other:9b"),
        metered(2, model="any word", status=404, told=False, tokens_in=0, tokens_out=0),
        metered(3, user="beta/n8n", end="unreachable", status=502, told=False, tokens_in=0, tokens_out=0),
        metered(1, month=10),
        metered(1, month=12),
        "{",
    ]
    (tmp_path / "usage.log").write_text("\n".join([*lines[:2], ""]))
    (tmp_path / "usage-1790000000000000000.log").write_text("\n".join([*lines[2:], ""]))
    (tmp_path / "access.log").write_text("\n".join([entry(2), entry(2, uri="/v1/models")]))
    facts = asked(tmp_path)
    assert facts["unread"] == 1
    acme, beta = counted([facts])
    assert (acme.requests, acme.tokens) == (2, Tokens(5, 1, 1, 10, 21, 2))
    assert acme.by_model == {
        "": Tokens(1, 0, 0, 0, 0, 0),
        "other:9b": Tokens(1, 0, 0, 5, 8, 0),
        "tiny:1b": Tokens(3, 1, 1, 5, 13, 2),
    }
    assert acme.tokens_by_day == {1: (5, 8), 2: (5, 13)}
    assert acme.first_s == 0.1
    assert (beta.requests, beta.tokens.failed) == (0, 1)
    found = Usage("2026-11", ("gpu-1",), (acme, beta), ())
    shown = human.table(found)
    assert "other:9b" in shown
    assert "> 10" in shown
    assert "any word" not in shown
    page = human.page(found)
    assert "<title>2: 5 + 13</title>" in page
    assert "tokens in (grey) and out by day, 18 at most" in page
    assert "http:" not in page + page.replace("https:", "http:")


def test_what_lies_in_the_meters_folder_is_read_as_a_strangers(tmp_path):
    """A link and a pipe are not followed or waited for: the agent is root, the meter nobody."""
    os.mkfifo(tmp_path / "usage-1.log")
    assert asked(tmp_path)["unread"] == 1
    (tmp_path / "secret").write_text(metered(1))
    (tmp_path / "usage.log").symlink_to(tmp_path / "secret")
    with pytest.raises(ProbeError):
        asked(tmp_path)


def test_the_last_hour_and_today_are_told_by_caller(tmp_path):
    """Since midnight UTC; a file that was last written before is not even read."""
    at = calendar.timegm((2026, 11, 21, 12, 30, 0))
    lines = [metered(21), metered(21, ts=at - 3601), metered(20), metered(21, user="beta/n8n", end="cut")]
    (tmp_path / "usage.log").write_text("\n".join([*lines, "{", ""]))
    (tmp_path / "usage-1.log").write_text(metered(21))
    os.utime(tmp_path / "usage-1.log", (at - 86400, at - 86400))
    found = agent.recent(str(tmp_path), at)
    assert found["acme/librechat"] == {
        "hour": {"requests": 1, "failed": 0, "tokens_in": 5, "tokens_out": 8},
        "day": {"requests": 2, "failed": 0, "tokens_in": 10, "tokens_out": 16},
    }
    assert found["beta/n8n"]["hour"]["failed"] == 1
    assert agent.recent(str(tmp_path / "none"), at) == {}
