"""What each act writes down, refuses and leaves to a person; the live half is proved on a host by tests/e2e."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from otobotctl import secrets
from otobotctl.cli import main as cli
from otobotctl.errors import HostUnreachableError, InterruptedRunError, OtobotError, PartialError, UsageError
from otobotctl.incidents import ledger
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.desired import load
from otobotctl.workflows.incidents import exposing, reporting, revoking, shielding
from otobotctl.workflows.incidents.exposing import Exposed
from otobotctl.workflows.rotation import exchange
from otobotctl.workflows.selection import Selection
from tests.cli.parse import parse
from tests.workflows.fleets import client, made

ME = "203.0.113.99"
FACTS = {"blocked": {}, "isolated": None, "enforced": True, "restored": "", "_client": ME, "_own": ["203.0.113.1"], "_ssh": [22]}  # fmt: skip
HOSTS = Selection(("vps-1",))


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Two hosts, a client on each; secrets minted."""
    hosts = {"vps-1": {"address": "203.0.113.1"}, "vps-2": {"address": "203.0.113.2"}}
    clients = {"acme": client("acme", "vps-1"), "beta": client("beta", "vps-2")}
    here = made(monkeypatch, tmp_path / "home", tmp_path / "fleet", hosts, clients)
    for slug in ("acme", "beta"):
        sealed.mint(load(here), slug)
    return here


@pytest.fixture
def hosts(monkeypatch):
    """Stands in for hosts: what they answer, and what they were told."""
    found = SimpleNamespace(facts=dict(FACTS), told=[], error=None)

    def everywhere(_loaded, specs, _listener, _password, *, login=False):
        found.told.append((dict(specs), login))
        if found.error is not None:
            raise found.error

    monkeypatch.setattr(shielding, "_facts", lambda _l, names, *_: dict.fromkeys(names, found.facts))
    monkeypatch.setattr(shielding, "_everywhere", everywhere)
    monkeypatch.setattr(shielding, "_answering", lambda _address: [])
    return found


def run(capsys, fleet, *words, code=0):
    """The data of a command's answer."""
    capsys.readouterr()
    assert cli.main([*words, "--json", "--fleet", str(fleet.root)]) == code
    told = json.loads(capsys.readouterr().out)
    return told["data"] if code == 0 else told["error"]


def records(fleet, number=-1):
    return [*reversed(ledger.every(fleet))][number].read().records


# ---------------------------------------------------------------- addresses and hosts
def test_holding_off_is_written_down_before_and_after(fleet, hosts):
    """With its end; the host is told addresses in one way of writing, and whom to spare."""
    done = shielding.block(fleet, ["198.51.100.7", "2001:DB8::/32"], HOSTS, 3600, None)
    assert [record.event for record in records(fleet)] == ["opened", "begun", "done"]
    assert done.details["addresses"] == ["198.51.100.7", "2001:db8::/32"]
    ((specs, login),) = hosts.told
    assert [block.address for block in specs["vps-1"].blocked] == ["198.51.100.7", "2001:db8::/32"]
    assert (specs["vps-1"].spared, login) == ((ME,), False)
    assert sum(parse(text) for text in done.remaining) == 2
    assert any("72" in text or "authority" in text for text in done.remaining)


@pytest.mark.parametrize("address", [ME, "203.0.113.0/24", "0.0.0.0/0", "203.0.113.1", "127.0.0.0/8"])
def test_nobody_holds_himself_or_the_host_off(fleet, hosts, address):
    """Nothing is done, and there is no incident of it."""
    with pytest.raises(UsageError, match="your own way"):
        shielding.block(fleet, [address], HOSTS, 0, None)
    assert hosts.told == []
    assert ledger.every(fleet) == ()


@pytest.mark.parametrize("address", ["acme.example", "198.51.100.300", "", "1.2.3.4/40"])
def test_what_is_no_address(fleet, hosts, address):
    """Is said so, before any host is asked."""
    with pytest.raises(UsageError, match="no address"):
        shielding.block(fleet, [address], HOSTS, 0, None)


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("24h", 86400), ("7d", 604800), ("forever", 0)])
def test_how_long(text, seconds):
    """Minutes, hours, days, or for good."""
    assert shielding.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "7", "h", "-1h", "1w", "1.5h"])
def test_what_is_no_time(text):
    """Nothing is guessed."""
    with pytest.raises(UsageError, match="is no time"):
        shielding.seconds(text)


def test_what_failed_is_written_down_as_failed(fleet, hosts):
    """With the reason, and the error goes on."""
    hosts.error = HostUnreachableError("vps-1: no line")
    with pytest.raises(HostUnreachableError):
        shielding.block(fleet, ["198.51.100.7"], HOSTS, 0, None)
    assert (records(fleet)[-1].event, records(fleet)[-1].details["error"]) == ("failed", "vps-1: no line")


@pytest.mark.parametrize("killed", [KeyboardInterrupt(), InterruptedRunError("interrupted")], ids=["killed", "Ctrl-C"])
def test_an_act_that_was_killed_shows_as_interrupted(fleet, hosts, killed):
    """Nobody knows how it ended; its report says to run it again."""
    hosts.error = killed
    with pytest.raises(type(killed)):
        shielding.isolate(fleet, "vps-1", (), 120, None)
    found, error = reporting.report(fleet, None)
    assert error is None
    assert found.interrupted == ("isolate vps-1",)


def test_isolation_lets_the_operator_in_and_wants_a_new_login(fleet, hosts):
    """He need not name himself; who is named beside him comes in too."""
    done = shielding.isolate(fleet, "vps-1", ("198.51.100.5",), 60, None)
    ((specs, login),) = hosts.told
    assert (specs["vps-1"].isolate, specs["vps-1"].trial_s, login) == ((ME, "198.51.100.5"), 60, True)
    assert any("it@acme.example" in text for text in done.remaining)
    assert any(f"incident release vps-1 --incident {done.incident}" in text for text in done.remaining)
    assert sum(parse(text) for text in done.remaining) == 2


def test_an_isolation_that_would_let_nobody_in_is_refused(fleet, hosts):
    """Where no login is known, as on this machine itself, somebody must be named."""
    hosts.facts = {**FACTS, "_client": None}
    with pytest.raises(UsageError, match="nobody could come"):
        shielding.isolate(fleet, "vps-1", (), 60, None)
    assert ledger.every(fleet) == ()


def test_release_opens_or_lets_in_or_both(fleet, hosts):
    """By what is said; what is not held off is told."""
    hosts.facts = {**FACTS, "blocked": {"198.51.100.7": 0, "198.51.100.8": 0}, "isolated": [ME]}
    shielding.release(fleet, "vps-1", (), None)
    shielding.release(fleet, "vps-1", ("198.51.100.7",), None)
    shielding.release(fleet, "vps-1", (), None, every=True)
    told = [(specs["vps-1"].release, specs["vps-1"].freed) for specs, _ in hosts.told]
    assert told == [(True, ()), (False, ("198.51.100.7",)), (True, ("198.51.100.7", "198.51.100.8"))]
    with pytest.raises(UsageError, match=r"does not hold off 198\.51\.100\.9"):
        shielding.release(fleet, "vps-1", ("198.51.100.9",), None)
    hosts.facts = dict(FACTS)
    with pytest.raises(UsageError, match="not isolated"):
        shielding.release(fleet, "vps-1", (), None)


# ---------------------------------------------------------------- connections
class Vault:
    """A vault with one connection, and the audit of it."""

    slug = "acme"

    def __init__(self, outcome="revoked"):
        self.there, self.outcome = True, outcome
        self.entries = [{"action": "read", "by": "n8n", "address": "172.18.0.5", "outcome": "success", "service": "google", "userId": "u"}]  # fmt: skip

    def ask(self, method, path, _body=None):
        if "users" in path:
            return {"users": [{"id": "u", "email": "lea@acme.example", "erasedAt": None}], "next": None}
        if method == "DELETE":
            self.there = False
            self.entries.insert(0, {"action": "disconnect", "by": "me", "address": "", "outcome": self.outcome, "service": "google", "userId": "u"})  # fmt: skip
            return None
        if "audit" in path:
            return {"entries": self.entries, "next": None}
        one = {"id": "c-1", "user_id": "u", "service_name": "google", "account_identifier": "", "is_broken": False, "status": "valid", "token_expires_at": None, "broken_reason": ""}  # fmt: skip
        return {"connections": [one] if self.there else []}


def test_a_connection_that_its_provider_has_revoked(fleet):
    """The user is to be told; nothing is left to do at the provider. Who used it is written down."""
    done = revoking.revoke(fleet, Vault(), "c-1")
    assert (done.details["provider"], done.details["user"]) == ("revoked", "lea@acme.example")
    assert done.details["seen"]["read by n8n from 172.18.0.5"] == 1
    assert not any("revoke the access" in text for text in done.remaining)
    assert any("tell lea@acme.example" in text for text in done.remaining)
    assert sum(parse(text) for text in done.remaining) == 1


def test_a_connection_that_its_provider_was_not_told_of(fleet):
    """Then that is left to a person."""
    for outcome in ("not_revoked", "no_revocation"):
        done = revoking.revoke(fleet, Vault(outcome), "c-1")
        assert any("revoke the access at google itself" in text for text in done.remaining)


def test_a_call_that_was_killed_after_the_end_is_made_whole(fleet):
    """The vault's audit knows of the end; a connection that never was is refused."""
    vault = Vault("no_revocation")
    vault.ask("DELETE", "")
    assert revoking.revoke(fleet, vault, "c-1").details["service"] == "google"
    vault.entries.clear()
    with pytest.raises(UsageError, match="has no connection"):
        revoking.revoke(fleet, vault, "c-2")


# ---------------------------------------------------------------- secrets
@pytest.fixture
def exchanged(monkeypatch):
    """Stands in for the exchange itself: which clients it was asked for, and what was marked then."""
    calls = []

    class Fake:
        def __init__(self, fleet, slug, *_):
            self.fleet, self.slug = fleet, slug

        def run(self, wanted, *, backup):
            assert wanted.due
            assert not backup  # what somebody may know does not wait for an archive
            known = secrets.read_metadata(self.fleet.client(self.slug))
            calls.append((self.slug, {each.name for each in known if each.exposed}))
            if self.slug == "beta" and calls.count(("fail", set())):
                raise OtobotError("no line")
            return exchange.Rotated(self.slug, ("N8N_INTERNAL_TOKEN",), (), {}, {}, 1.0)

    monkeypatch.setattr(exchange, "Exchange", Fake)
    return calls


def say(_text):
    """Nobody listens."""


def test_every_secret_of_a_hosts_clients(fleet, exchanged):
    """Marked in the store, then exchanged; what a machine cannot exchange remains for a person."""
    done = exposing.rotate(fleet, Exposed(hosts=("vps-1",)), None, say)
    ((slug, marked),) = exchanged
    assert slug == "acme"
    assert {"N8N_INTERNAL_TOKEN", "POSTGRES_PASSWORD", "ENCRYPTION_MASTER_KEY"} <= marked
    assert done.details["clients"]["acme"]["rotated"] == ["N8N_INTERNAL_TOKEN"]
    assert any("AUDIT_HMAC_KEY of acme cannot be exchanged: the audit's" in text for text in done.remaining)


def test_one_secret_of_one_client(fleet, exchanged):
    """The others stay as they are; one that is not there is refused before anything is written."""
    with pytest.raises(UsageError, match="has a secret NOPE"):
        exposing.rotate(fleet, Exposed(("acme",), ("NOPE",)), None, say)
    assert ledger.every(fleet) == ()
    exposing.rotate(fleet, Exposed(("acme",), ("API_JWT_SECRET",)), None, say)
    assert exchanged == [("acme", {"API_JWT_SECRET"})]


def test_what_was_made_after_the_incident_began_is_not_exposed_by_it(fleet, exchanged):
    """So that the same call again does not exchange everything a second time."""
    begun = ledger.open_new(fleet, "seen")
    text = begun.path.read_text()
    past = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds")
    begun.path.unlink()
    body = json.loads(text)
    from otobotctl.incidents.record import following, line

    old = following((), "opened", at=past, who="me", action="open", subject=body["subject"], details=body["details"])
    begun.path.write_text(line(old) + "\n")
    exposing.rotate(fleet, Exposed(("acme",)), None, say, incident=begun.name)
    assert exchanged == [("acme", set())]


def test_a_recipient_is_taken_out_before_anything_is_exchanged(fleet, exchanged):
    """All that he could open is due then, of every client; a call that was killed in between goes on."""
    import pyrage

    key = str(pyrage.x25519.Identity.generate().to_public())
    from otobotctl.workflows import recipients

    recipients.add(fleet, key)
    for _ in range(2):
        exposing.rotate(fleet, Exposed(recipient=key), None, say)
        assert key not in fleet.manifest.read_text()
    assert [slug for slug, _ in exchanged] == ["acme", "beta"] * 2
    assert all(len(marked) > 5 for _, marked in exchanged)


def test_one_client_that_fails_costs_no_other(fleet, exchanged):
    """It is told, and what was marked stays due."""
    exchanged.append(("fail", set()))
    with pytest.raises(PartialError) as error:
        exposing.rotate(fleet, Exposed(("beta", "acme")), None, say)
    assert error.value.details == ("beta: no line",)
    assert [slug for slug, _ in exchanged[1:]] == ["beta", "acme"]
    assert records(fleet)[-1].details["clients"]["acme"]["rotated"]


def test_nobody_named(fleet):
    """Is asked for."""
    with pytest.raises(UsageError, match="whose secrets"):
        exposing.rotate(fleet, Exposed(), None, say)


# ---------------------------------------------------------------- words
def test_an_incident_from_its_opening_to_its_close(fleet, capsys, hosts):
    """Opened with when it was known of, added to, noted, settled, closed; the list and the report tell it."""
    aware = (datetime.now(UTC) - timedelta(hours=10)).isoformat(timespec="seconds")
    opened = run(capsys, fleet, "incident", "open", "laptop stolen", "--aware", aware)
    name = opened["incident"]
    run(capsys, fleet, "incident", "block-ip", "198.51.100.7", "--host", "vps-1", "--incident", name)
    assert "remain" in run(capsys, fleet, "incident", "close", name, code=2)["message"]
    told = run(capsys, fleet, "incident", "report", name)
    assert 61 < told["notice"]["hours_left"] <= 62
    settle = [word for number in range(len(told["remaining"])) for word in ("--settles", str(number + 1))]
    run(capsys, fleet, "incident", "note", name, "two mailboxes", "--people", "2", *settle)
    assert "notice" in run(capsys, fleet, "incident", "close", name, code=2)["details"][0]
    run(capsys, fleet, "incident", "note", name, "the disk was sealed", "--notice", "not needed")
    assert run(capsys, fleet, "incident", "close", name, "over")["state"] == "closed"
    assert [row["state"] for row in run(capsys, fleet, "incident", "list")] == ["closed"]
    refused = run(capsys, fleet, "incident", "block-ip", "198.51.100.8", "--all", "--incident", name, code=2)
    assert "is closed" in refused["message"]


def test_a_changed_record_ends_the_report_with_4(fleet, capsys):
    """The story is told all the same; nothing is added any more."""
    name = run(capsys, fleet, "incident", "open", "seen")["incident"]
    path = fleet.root / "incidents" / f"{name}.jsonl"
    path.write_text(path.read_text().replace("seen", "nothing"))
    assert "line 1" in run(capsys, fleet, "incident", "report", code=4)["message"]
    run(capsys, fleet, "incident", "note", name, "more", code=4)


def test_the_report_in_words(fleet, capsys, hosts):
    """All of it on one page: what was done, what remains, the deadline, what is not known yet."""
    name = run(capsys, fleet, "incident", "open", "seen")["incident"]
    run(capsys, fleet, "incident", "block-ip", "198.51.100.7", "--host", "vps-1", "--incident", name)
    capsys.readouterr()
    assert cli.main(["incident", "report", "--fleet", str(fleet.root)]) == 0
    page = capsys.readouterr().out
    for words in (
        f"Incident {name}: seen",
        "block-ip 198.51.100.7 on vps-1: done",
        "72 hours end",
        "people:",
        "every line is as it was written",
    ):
        assert words in page
    assert cli.main(["incident", "list", "--fleet", str(fleet.root)]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("open", " "), "needs a title"),
        (("open", "x", "--aware", "yesterday"), "no moment"),
        (("open", "x", "--aware", "2999-01-01"), "yet to come"),
        (("report",), "no incident"),
        (("note", "2026-11-21-1", "x"), "there is no incident"),
        (("release", "vps-1", "198.51.100.7", "--all"), "--all is every address"),
    ],
)
def test_what_cannot_be_meant(fleet, capsys, words, says):
    """Exit code 2, and what to do."""
    error = run(capsys, fleet, "incident", *words, "--yes", code=2)
    assert says in error["message"]
    assert error["hint"]
