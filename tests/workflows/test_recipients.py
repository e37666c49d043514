"""Who can open the fleet's sealed files: added, removed, killed in between; and the recovery sheet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import count

import pyrage
import pytest

from otobotctl import atomic, secrets
from otobotctl import fleet as fleets
from otobotctl.cli import main as cli
from otobotctl.errors import ManifestError
from otobotctl.workflows import recipients
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.desired import load
from tests.workflows.fleets import client, made

CLIENTS = ("acme", "beta", "gone")


class Killed(BaseException):
    """In place of kill -9."""


class Person:
    """Somebody with a key of her own."""

    def __init__(self, directory, name):
        identity = pyrage.x25519.Identity.generate()
        self.recipient = str(identity.to_public())
        self.path = directory / f"{name}.txt"
        self.path.write_text(f"{identity}\n")

    def opens(self, fleet, slug):
        try:
            return bool(secrets.open_store(fleet.client(slug), [self.path]).values)
        except ManifestError:
            return False


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A fleet of two clients and the sealed file of a third that left the manifest; Claire can open it all."""
    with pytest.MonkeyPatch.context() as patch:
        clients = {slug: client(slug, "vps-1", email="a@b.example", index=place) for place, slug in enumerate(CLIENTS)}
        home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("fleet")
        fleet = made(patch, home, directory, {"vps-1": {"address": "203.0.113.1"}}, clients)
        claire = Person(home, "claire")
        recipients.add(fleet, claire.recipient)
        for slug in CLIENTS:
            sealed.mint(load(fleet), slug)
        assert cli.main(["client", "remove", "gone", "--yes", "--fleet", str(directory)]) == 0
        yield fleet, claire


@pytest.fixture
def fleet(template, tmp_path):
    """A copy of it."""
    shutil.copytree(template[0].root, tmp_path / "fleet")
    return fleets.find(tmp_path / "fleet")


@pytest.fixture
def claire(template):
    return template[1]


def files(fleet):
    """Every file of the fleet but the audit of who called what."""
    found = [path for path in fleet.root.glob("**/*") if path.is_file() and "audit" not in path.parts]
    return {path: path.read_bytes() for path in found}


def run(fleet, *words, capsys):
    capsys.readouterr()
    code = cli.main([*words, "--fleet", str(fleet.root)])
    return code, capsys.readouterr()


def test_an_added_key_opens_every_file(fleet, tmp_path, capsys):
    """Also those of clients that left; the same call again changes nothing; who can open what is told without a key."""
    marc = Person(tmp_path, "marc")
    (tmp_path / "marc.pub").write_text(f"# Marc\n{marc.recipient}\n")
    code, said = run(fleet, "secrets", "recipients", "add", str(tmp_path / "marc.pub"), "--json", capsys=capsys)
    assert code == 0
    assert json.loads(said.out)["data"] == {"key": marc.recipient, "new": True, "sealed": list(CLIENTS)}
    assert all(marc.opens(fleet, slug) for slug in CLIENTS)
    before = files(fleet)
    code, said = run(fleet, "secrets", "recipients", "add", marc.recipient, "--json", capsys=capsys)
    assert json.loads(said.out)["data"] == {"key": marc.recipient, "new": False, "sealed": []}
    assert files(fleet) == before
    listed = {each.key: each for each in recipients.listed(fleet)}
    assert (listed[marc.recipient].named, listed[marc.recipient].opens) == (True, CLIENTS)


def test_a_removed_key_opens_nothing_and_what_it_could_read_is_due(fleet, claire, capsys):
    """Every secret is listed, those that cannot be exchanged with the reason; status ends with 4 until they are."""
    assert run(fleet, "secrets", "status", "--all", capsys=capsys)[0] == 0
    code, said = run(fleet, "secrets", "recipients", "remove", claire.recipient, "--yes", "--json", capsys=capsys)
    assert code == 0
    told = json.loads(said.out)["data"]
    assert told["sealed"] == list(CLIENTS)
    assert {slug: set(names) for slug, names in told["known"].items()} == {
        slug: set(secrets.open_store(fleet.client(slug), secrets.identities()).values) for slug in CLIENTS
    }
    assert "AUDIT_HMAC_KEY" in told["kept"]["acme"]
    assert not any(claire.opens(fleet, slug) for slug in CLIENTS)
    assert claire.recipient not in fleet.manifest.read_text()
    code, said = run(fleet, "secrets", "status", "acme", "--json", capsys=capsys)
    assert code == 4
    states = {each["name"]: each["state"] for each in json.loads(said.out)["data"]["secrets"]}
    assert {name for name, state in states.items() if state == "kept"} == set(told["kept"]["acme"])
    assert set(states.values()) == {"exposed", "kept"}
    assert run(fleet, "secrets", "recipients", "remove", "claire", "--yes", capsys=capsys)[0] == 2


@pytest.mark.parametrize("way", ["before", "behind"])
def test_removed_and_killed_around_any_write_it_is_taken_up(fleet, claire, monkeypatch, way):
    """After each kill nothing is lost; the same call then ends it, and nothing that she read escapes its mark."""
    real = atomic.write
    for moment in count(1):
        shutil.rmtree(kept := fleet.root.parent / "kept", ignore_errors=True)
        shutil.copytree(fleet.root, kept)
        counter = count(1)

        def write(*arguments, counter=counter, moment=moment):
            deadly = next(counter) == moment
            if deadly and way == "before":
                raise Killed
            real(*arguments)
            if deadly:
                raise Killed

        monkeypatch.setattr(atomic, "write", write)
        try:
            recipients.remove(fleet, claire.recipient)
            died = False
        except Killed:
            died = True
        monkeypatch.setattr(atomic, "write", real)
        assert all(secrets.open_store(fleet.client(slug), secrets.identities()).values for slug in CLIENTS)
        sealed.mint(load(fleet), "acme")  # somebody deploys before it goes on
        if died and any(claire.recipient == each.key for each in recipients.listed(fleet)):
            recipients.remove(fleet, claire.recipient)
        for slug in CLIENTS:
            known = secrets.read_metadata(fleet.client(slug))
            assert all(each.exposed for each in known)
            assert not claire.opens(fleet, slug)
        assert claire.recipient not in fleet.manifest.read_text()
        if not died:
            break
        shutil.rmtree(fleet.root)
        shutil.copytree(kept, fleet.root)
    assert moment > 8


def test_the_last_recipient_stays(fleet, claire, capsys):
    """Nobody could open anything; and what is no key at all is refused before anything is written."""
    recipients.remove(fleet, claire.recipient)
    (mine,) = (each.key for each in recipients.listed(fleet))
    code, said = run(fleet, "secrets", "recipients", "remove", mine, "--yes", capsys=capsys)
    assert (code, "last recipient" in said.err) == (2, True)
    before = fleet.manifest.read_bytes()
    for wrong in ("age1nope", "claire@laptop", claire.path.read_text().strip()):
        code, said = run(fleet, "secrets", "recipients", "add", wrong, capsys=capsys)
        assert code == 10
        assert claire.path.read_text().strip() not in said.err + said.out
    assert fleet.manifest.read_bytes() == before


def test_a_recovery_sheet_opens_by_what_it_says_of_itself(fleet, tmp_path, capsys):
    """No value is on it; its own instructions, followed to the letter with the stock tool, give each value."""
    offline = Person(tmp_path, "offline")
    code, said = run(fleet, "secrets", "escrow", "acme", "--to", offline.recipient, capsys=capsys)
    assert code == 0
    store = secrets.open_store(fleet.client("acme"), secrets.identities())
    assert [name for name, value in store.values.items() if value.reveal() in said.out] == []
    assert all(known.fingerprint in said.out for known in store.metadata.values())
    (block,) = re.findall(r"-----BEGIN AGE.*?END AGE ENCRYPTED FILE-----\n", said.out, re.DOTALL)
    (tmp_path / "sheet.age").write_text(block)
    digest = subprocess.run(["sha256sum", tmp_path / "sheet.age"], capture_output=True, text=True, check=True).stdout
    assert digest.split()[0] in said.out
    if shutil.which("age"):
        argv = ["age", "--decrypt", "--identity", offline.path, tmp_path / "sheet.age"]
        opened = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        assert {name: each["value"] for name, each in opened["secrets"].items()} == {
            name: value.reveal() for name, value in store.values.items()
        }
    # As the third step says: it is a fleet's sealed file as it is.
    (fleet.client("acme") / "secrets.age").write_text(block)
    assert secrets.open_store(fleet.client("acme"), [offline.path]).values.keys() == store.values.keys()
    mine = [pyrage.x25519.Identity.from_str(secrets.identities()[0].read_text().splitlines()[-1])]
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(block.encode(), mine)
