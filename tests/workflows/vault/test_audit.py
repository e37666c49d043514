"""`otobotctl vault audit` on a real vault: exported whole, verified, and a tail that was cut is found."""

from __future__ import annotations

import json
import stat

from otobotctl.workflows.vault import audit
from tests.workflows.vault.standin import opened


def test_export(ask, tmp_path, monkeypatch):
    """Every entry, newest first, over several pages, in a file that only its owner reads."""
    monkeypatch.setattr(audit, "_PAGE", 2)
    for _ in range(3):
        assert ask("client", "show", "acme").code == 0
    file = tmp_path / "audit.jsonl"
    said = ask("audit", "export", "acme", str(file), "--json")
    assert said.code == 0, said.err
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert said.data == {"written": str(file), "entries": len(entries)}
    assert len(entries) >= 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one["at"] for one in entries] == sorted((one["at"] for one in entries), reverse=True)


def test_a_tail_that_was_cut_is_found_by_the_anchor(ask, standin):
    """A whole audit writes the anchor; a cut tail, whole in itself, is found by it, and the anchor is kept."""
    anchor = standin.fleet.client("acme") / "audit-anchor.json"
    anchor.unlink(missing_ok=True)
    first = ask("audit", "verify", "acme")
    assert first.code == 0, first.err
    assert "whole; its heads are the fleet's first anchor" in first.out
    kept = anchor.read_bytes()
    assert json.loads(kept)["version"] == 1
    assert stat.S_IMODE(anchor.stat().st_mode) == 0o644
    assert "nothing of the last time is gone" in ask("audit", "verify", "acme").out
    assert [path.name for path in anchor.parent.glob(".*anchor*")] == []
    ask("client", "show", "acme")
    assert ask("audit", "verify", "acme", "--json").data["anchored"] is True
    kept = anchor.read_bytes()
    with opened(standin) as connection:
        (last,) = connection.execute(
            "DELETE FROM vault.credential_access_logs l USING (SELECT stream, max(sequence) AS newest"
            " FROM vault.credential_access_logs WHERE stream IS NOT NULL GROUP BY stream ORDER BY max(created_at) DESC"
            " LIMIT 1) t WHERE l.stream = t.stream AND l.sequence = t.newest RETURNING l.sequence"
        ).fetchall()
        assert last
    cut = ask("audit", "verify", "acme", "--json")
    assert cut.code == 4, cut.err
    assert "was there once, and is gone" in cut.data["broken"][0]
    assert cut.error["kind"] == "Drift"
    assert anchor.read_bytes() == kept
    words = ask("audit", "verify", "acme")
    assert (words.code, words.out, "is gone" in words.err) == (4, "", True)
    anchor.unlink()
    assert ask("audit", "verify", "acme").code == 0


def test_an_anchor_that_cannot_be_read(ask, standin):
    """Said in one line with what to do, exit code 10."""
    anchor = standin.fleet.client("acme") / "audit-anchor.json"
    for text in ("{", "[]", '{"version": 1, "heads": 3}'):
        anchor.write_text(text)
        said = ask("audit", "verify", "acme")
        assert said.code == 10, said.err
        assert "audit-anchor.json" in said.err
        assert anchor.read_text() == text
    anchor.unlink()
