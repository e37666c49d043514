"""`status`: what is asked, how it is judged, and its three shapes: screen, JSON, page."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from otobotctl.cli import main as cli
from otobotctl.workflows import converging, judging
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.desired import load
from otobotctl.workflows.status import DueSecret, secrets_due
from tests.workflows.door import GIB, Hosts, facts, release, run
from tests.workflows.fleets import client, made

DAY_S = 86400


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """A fleet of two hosts with a client on the first; its secrets are minted."""
    hosts = {"vps-1": {"address": "203.0.113.1", "tags": ["paris"]}, "vps-2": {"address": "203.0.113.2"}}
    clients = {"acme": client("acme", "vps-1", company="ACME <SAS>")}
    here = made(monkeypatch, tmp_path / "home", tmp_path / "fleet", hosts, clients)
    sealed.mint(load(here), "acme")
    return here


@pytest.fixture
def hosts(monkeypatch):
    """Put scripted hosts in the place of ssh."""

    def put(answers, last=None):
        made = Hosts(answers, last)
        monkeypatch.setattr(converging, "open_door", made)
        return made

    return put


def ask(fleet, capsys, *words):
    """Run `status --json`; return its exit code and its one envelope."""
    capsys.readouterr()
    code = cli.main(["status", *words, "--json", "--fleet", str(fleet.root)])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return code, json.loads(out)


def digests(fleet):
    from otobotctl.workflows.status import _wanted

    return _wanted(load(fleet), "vps-1").digests


def shown(days, *, self_signed=False):
    """What a host tells of a certificate of ninety days that ends in `days`."""
    end = time.time() + days * DAY_S
    return {"not_before": end - 90 * DAY_S, "not_after": end, "issuer": "Let's Encrypt", "self_signed": self_signed}


def well(fleet, **changed):
    """The facts of vps-1 as it should be."""
    wanted = digests(fleet)
    return facts(
        releases={name: release(3, digest, {"postgres": "healthy"}) for name, digest in wanted.items()},
        certificates={"acme.example": shown(60.5)},
        **changed,
    )


def test_a_fleet_that_is_well(fleet, hosts, capsys):
    """One question a host; release, digest, containers, certificate, and nothing to look at."""
    asked = hosts({"vps-1": well(fleet), "vps-2": facts()}, run("ok")).asked
    code, found = ask(fleet, capsys)
    assert code == 0
    assert found["ok"] is True
    first, second = found["data"]["hosts"]
    assert (first["state"], first["attention"]) == ("well", [])
    acme = first["releases"][0]
    assert (acme["client"], acme["release"], acme["matches"]) == ("acme", 3, True)
    assert acme["certificate_days"] == pytest.approx(60.5, abs=0.1)
    assert acme["certificate_issuer"] == "Let's Encrypt"
    assert second["releases"] == []
    assert first["last"]["state"] == "ok"
    assert sorted(name for name, _ in asked) == ["vps-1", "vps-2"]
    question = dict(asked)["vps-1"]["questions"][0]
    assert question["kind"] == "host_status"
    assert question["params"]["names"] == ["acme.example"]
    assert question["params"]["projects"]["acme"] == "otobot-acme"


def test_one_of_two_hosts_is_gone(fleet, hosts, capsys):
    """It is shown as unreachable beside the other; exit code 3, and one envelope holds both data and error."""
    hosts({"vps-2": facts()})
    code, found = ask(fleet, capsys)
    assert code == 3
    assert found["ok"] is False
    assert found["error"]["code"] == 3
    assert [host["state"] for host in found["data"]["hosts"]] == ["unreachable", "well"]
    assert found["data"]["hosts"][0]["error"]["code"] == 13


def test_the_only_host_is_gone(fleet, hosts, capsys):
    """Its own exit code."""
    hosts({})
    assert ask(fleet, capsys, "--tag", "paris")[0] == 13
    assert ask(fleet, capsys, "vps-2")[0] == 13


def test_without_a_key_releases_are_not_compared_and_all_else_is_told(fleet, hosts, capsys, monkeypatch, tmp_path):
    """A watching machine needs no key."""
    answers = {"vps-1": well(fleet)}
    monkeypatch.setenv("HOME", str(tmp_path))
    hosts(answers)
    code, found = ask(fleet, capsys, "vps-1")
    assert code == 0
    acme = found["data"]["hosts"][0]["releases"][0]
    assert (acme["release"], acme["matches"]) == (3, None)


def test_the_screen_says_what_to_look_at(fleet, hosts, capsys):
    """Everything that is not well is a line of its own that begins with the host."""
    bad = well(
        fleet,
        memory={"total": 100, "available": 2},
        disks=[{"path": "/var", "size": 100, "used": 90, "available": 5, "inodes": 100, "inodes_free": 1}],
        load=[1.0, 2.0, 9.0],
        reboot_required=True,
    )
    bad["releases"]["acme"] = release(2, "another", {"postgres": "unhealthy"}, postgres="unhealthy")
    bad["certificates"]["acme.example"] = shown(5.5, self_signed=True)
    hosts({"vps-1": bad, "vps-2": facts(docker_error="no daemon")}, run("failed"))
    capsys.readouterr()
    assert cli.main(["status", "--fleet", str(fleet.root)]) == 0
    told = capsys.readouterr().out
    for words in (
        "vps-1: disk /var is 95% full",
        "vps-1: disk /var has 1 inodes left",
        "vps-1: memory is 98% full",
        "vps-1: load is 9 on 2 CPUs",
        "vps-1: a reboot is required",
        "vps-1: the last run failed in docker/engine",
        "vps-1: acme: postgres is unhealthy",
        "vps-1: acme: release 2 is not what the fleet says",
        "vps-1: acme: a certificate ends in",
        "vps-1: acme: its certificate is self-signed, not by ACME yet",
        "vps-2: containers cannot be looked at: no daemon",
        "2, differs",
        "self-signed",
        "2 hosts: 2 attention",
    ):
        assert words in told
    assert max(len(line) for line in told.splitlines()) < 120


def test_each_trouble_of_a_client_is_a_line():
    """Secrets that are due, a certificate that is not served; and no more than one about a client that is not there."""
    from otobotctl.workflows.status import Release

    gone = Release("acme", None, False, {}, {}, None, "Connection refused")
    shut = Release("bold", 1, True, {"nginx": "exited (1)"}, {"nginx": "exited (1)"}, None, "Connection refused")
    late = Release("late", 1, True, {}, {}, 50.0, "self-signed", (DueSecret("A", -3.0), DueSecret("B", 2.0)))
    assert judging.attention(facts(), [late], None) == ("late: 2 secrets to rotate, A overdue by 3 days",)
    assert judging.attention(facts(), [gone, shut], None) == (
        "acme is not deployed",
        "bold: nginx is exited (1)",
        "bold: no certificate is served: Connection refused",
    )


def test_secrets_are_due_by_their_metadata_alone(fleet):
    """The most urgent first; those without a policy, or with time left, are not told of."""
    loaded = load(fleet)
    assert secrets_due(loaded, "acme", time.time()) == ()
    rotated = {s.name: s.rotate_days for s in loaded.catalog.secret_specs(loaded.manifest.client("acme").services)}
    policies = {name: days for name, days in rotated.items() if days}
    assert policies
    later = datetime.now(UTC) + timedelta(days=max(policies.values()) + 10)
    due = secrets_due(loaded, "acme", later.timestamp())
    assert {each.name for each in due} == set(policies)
    assert due[0].days == min(each.days for each in due)
    assert all(each.days < 0 for each in due)
    assert secrets_due(loaded, "nobody", time.time()) == ()


class Page(HTMLParser):
    """Collects what a page refers to, and whether every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.bars, self.text = [], [], 0, []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in {"src", "href", "srcset", "action", "data"}]
        self.bars += tag == "svg"
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        """A rect needs no end."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_needs_no_other_file(fleet, hosts, tmp_path, capsys):
    """No script, no link, no address; bars for load, memory, disk and certificate; what a host says is escaped."""
    evil = well(fleet, system="<script>alert(1)</script>")
    hosts({"vps-1": evil})
    target = tmp_path / "pages" / "status.html"
    assert cli.main(["status", "--html", str(target), "--fleet", str(fleet.root)]) == 3
    text = target.read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.links == []
    assert page.bars == 4
    assert "<script" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"https?:", text)
    words = " ".join(page.text)
    assert "vps-2" in words
    assert "unreachable" in words
    assert "connection refused" in words
    assert f"wrote {target}" in capsys.readouterr().err


def test_the_page_warns_of_versions_and_says_in_words_what_is_late(fleet, hosts, tmp_path, monkeypatch):
    """Among what is to be looked at; no time is told as a number below nought."""
    written = json.loads(fleet.manifest.read_text())
    written["clients"]["acme"] |= {"services": ["postgres", "n8n"], "settings": {"n8n": {"version": "1.41.1"}}}
    fleet.manifest.write_text(json.dumps(written))
    monkeypatch.setattr("otobotctl.workflows.status.secrets_due", lambda *_: (DueSecret("n8n_key", -3.0),))
    gone = {"acme.example": shown(-2)}
    hosts({"vps-1": {**well(fleet), "certificates": gone}, "vps-2": facts()})
    monkeypatch.setattr("otobotctl.workflows.status.names_of", lambda *_: ("acme.example",))
    monkeypatch.setattr("otobotctl.workflows.status.front_clients", lambda _host, clients, _: clients)
    target = tmp_path / "status.html"
    assert cli.main(["status", "--html", str(target), "--fleet", str(fleet.root)]) == 0
    page = Page()
    page.feed(target.read_text())
    words = " ".join(page.text)
    assert "clients.acme: n8n 1.41.1 has published vulnerabilities" in words
    assert "a certificate ended 2 days ago" in words
    assert "n8n_key overdue by 3 days" in words


def test_a_page_that_cannot_be_written_is_a_usage_error(fleet, hosts, tmp_path):
    """A directory in its place: exit code 2, not a defect."""
    hosts({"vps-1": well(fleet), "vps-2": facts()})
    assert cli.main(["status", "--html", str(tmp_path), "--fleet", str(fleet.root)]) == 2


def test_watching_looks_again_until_ctrl_c(fleet, hosts, capsys, monkeypatch):
    """Each round is one envelope; ending it by Ctrl-C is success."""
    from otobotctl.cli import session
    from otobotctl.errors import InterruptedRunError

    hosts({"vps-1": well(fleet), "vps-2": facts()})
    rounds = []

    def pause(seconds):
        rounds.append(seconds)
        if len(rounds) == 2:
            raise InterruptedRunError("interrupted")

    monkeypatch.setattr(session.time, "sleep", pause)
    capsys.readouterr()
    assert cli.main(["status", "--watch", "--every", "3", "--json", "--fleet", str(fleet.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert rounds == [3, 3]
    assert [json.loads(line)["command"] for line in lines] == ["status", "status"]


def test_each_look_of_a_watch_has_its_own_ok_and_the_last_one_is_the_exit_code(fleet, hosts, capsys, monkeypatch):
    """A host that is gone and comes back: false, then true; the other way round ends with 3."""
    from otobotctl.cli import session
    from otobotctl.errors import InterruptedRunError

    def watch(*rounds):
        left = list(rounds)
        left.pop(0)()

        def pause(_seconds):
            if not left:
                raise InterruptedRunError("interrupted")
            left.pop(0)()

        monkeypatch.setattr(session.time, "sleep", pause)
        capsys.readouterr()
        code = cli.main(["status", "--watch", "--json", "--fleet", str(fleet.root)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def both():
        hosts({"vps-1": well(fleet), "vps-2": facts()})

    def one():
        hosts({"vps-1": well(fleet)})

    code, found = watch(one, both)
    assert code == 0
    assert [(each["ok"], (each["error"] or {}).get("code")) for each in found] == [(False, 3), (True, None)]
    code, found = watch(both, one)
    assert code == 3
    assert [each["ok"] for each in found] == [True, False]
    assert found[1]["data"]["hosts"][1]["state"] == "unreachable"


def test_sizes_and_times_read_well():
    """Short enough for a column."""
    from otobotctl.cli.human import amounts

    assert [amounts.duration(s) for s in (None, 300, 7200, 12 * DAY_S)] == ["-", "5 min", "2 h", "12 days"]
    assert [amounts.size(n) for n in (512, 4 * GIB, 512 << 20, 252 * GIB)] == ["512", "4.0G", "512M", "252G"]
    assert amounts.used({"total": None, "available": None}) == "-"
    assert amounts.fullest([]) == "-"


def test_the_last_archive_of_a_client_is_told_by_its_age(fleet, hosts, capsys, tmp_path):
    """Never, until one was made; then how long ago, on the screen, in JSON and on the page. The proxy needs none."""
    here = well(fleet)
    hosts({"vps-1": here, "vps-2": facts()})
    assert cli.main(["status", "--fleet", str(fleet.root)]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.startswith("acme")] == ["never"]
    here["releases"]["acme"]["archive"] = {"made": time.time() - 3 * 3600, "file": "a.zip.age", "consistent": True}
    page = tmp_path / "page.html"
    assert cli.main(["status", "--fleet", str(fleet.root), "--html", str(page)]) == 0
    told = capsys.readouterr().out + page.read_text()
    assert "<td>3 h</td>" in told
    _, found = ask(fleet, capsys)
    archives = {each["client"]: each["archive"] for each in found["data"]["hosts"][0]["releases"]}
    assert archives["acme"]["file"] == "a.zip.age"
    assert 10_800 <= archives["acme"]["age_s"] < 11_400
    assert archives.get("front", {}) == {}
