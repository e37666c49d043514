"""Edits of the manifest file."""

import json
import multiprocessing
import os

import pytest

from otobotctl import fleet, manifest
from otobotctl.errors import DriftError, LockedError, ManifestError, UsageError
from otobotctl.manifest import edit
from tests.manifest.sample import SERVICES, encoded, right

NEW = {"company": "Çedi", "email": "it@cedi.example", "host": "vps-1", "domain": "cedi.example"}


@pytest.fixture
def path(tmp_path):
    """A right manifest on disk, readable by the group."""
    path = tmp_path / fleet.MANIFEST
    path.write_bytes(encoded(right()))
    path.chmod(0o640)
    return path


def test_a_new_client_takes_the_first_free_slot(path):
    """The slot is written down, so that it stays; the rest of the file keeps its bytes and its mode."""
    before = path.read_text()
    assert manifest.add_client(path, "cedi", NEW, SERVICES)
    after = json.loads(path.read_text())
    assert list(after["clients"]["cedi"]) == ["company", "email", "host", "domain", "index"]
    assert after["clients"]["cedi"]["index"] == 2
    head = before[: before.rindex("}", 0, before.rindex("}", 0, before.rindex("}")))].rstrip()
    assert path.read_text().startswith(head)
    assert path.stat().st_mode & 0o777 == 0o640
    manifest.remove_client(path, "acme", SERVICES)
    assert manifest.add_client(path, "dodo", {**NEW, "domain": "dodo.example"}, SERVICES)
    assert json.loads(path.read_text())["clients"]["dodo"]["index"] == 0


def test_adding_and_removing_gives_the_same_bytes_back(path):
    """A round trip leaves no trace in git."""
    before = path.read_bytes()
    manifest.add_host(path, "vps-9", {"address": "203.0.113.99"})
    manifest.add_client(path, "cedi", {**NEW, "host": "vps-9"})
    manifest.remove_client(path, "cedi")
    manifest.remove_host(path, "vps-9")
    assert path.read_bytes() == before


def test_the_same_command_twice_changes_nothing(path):
    """A crash after the edit is repaired by giving the command again."""
    assert manifest.add_client(path, "cedi", NEW)
    before = path.read_bytes()
    assert not manifest.add_client(path, "cedi", NEW)
    assert not manifest.add_host(path, "gate", {"address": "203.0.113.9"})
    assert path.read_bytes() == before


def test_another_client_or_host_of_the_same_name_is_refused(path):
    """What is there is never overwritten by a create."""
    before = path.read_bytes()
    with pytest.raises(UsageError, match='there is a client "acme" already'):
        manifest.add_client(path, "acme", NEW)
    with pytest.raises(UsageError, match='there is a host "gate" already, and address is'):
        manifest.add_host(path, "gate", {"address": "203.0.113.8"})
    assert path.read_bytes() == before


def test_what_would_be_wrong_is_not_written(path):
    """The findings of the would-be manifest are told, and the file stays."""
    before = path.read_bytes()
    with pytest.raises(ManifestError) as caught:
        manifest.add_client(path, "Cedi", {**NEW, "domain": "cedi", "host": "vps-3"}, SERVICES)
    assert [line.split(":")[0] for line in caught.value.details] == [
        "clients.Cedi",
        "clients.Cedi.host",
        "clients.Cedi.domain",
    ]
    assert "nothing was written" in caught.value.message
    assert path.read_bytes() == before


def test_keys_of_a_host_are_set_replaced_and_taken_out(path):
    """Only what was asked for changes."""
    assert manifest.set_host(path, "vps-1", {"port": 2222, "address": "vps.example", "jump": None})
    host = json.loads(path.read_text())["hosts"]["vps-1"]
    assert host == {"address": "vps.example", "user": "ubuntu", "tags": ["eu"], "docker": "distribution", "port": 2222}
    assert not manifest.set_host(path, "vps-1", {"port": 2222, "jump": None})
    with pytest.raises(UsageError) as caught:
        manifest.set_host(path, "vps-2", {"port": 22})
    assert caught.value.hint == 'did you mean "vps-1"?'


def test_a_host_in_use_is_not_removed(path):
    """Clients on it and ways through it are named."""
    with pytest.raises(UsageError, match="still serves acme, bold"):
        manifest.remove_host(path, "vps-1")
    with pytest.raises(UsageError, match="is the way to vps-1"):
        manifest.remove_host(path, "gate")


def test_a_recipient_is_added_once(path):
    """The comment does not make another key."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK9G3K0+J6dv05K45i8Bdf92lr5L+sHlTfbqGM4ybkb7"
    assert manifest.add_recipient(path, f"{key} a@x")
    assert not manifest.add_recipient(path, f"{key} b@x")
    assert json.loads(path.read_text())["recipients"] == [f"{key} a@x"]


def test_a_file_that_an_editor_wrote_meanwhile_is_not_overwritten(path):
    """Nobody's work is lost to a command that read the file before."""

    def slow(raw, parsed, loaded):
        path.write_text(raw + "\n")
        return raw.replace("Otobot", "Other")

    with pytest.raises(DriftError, match="changed meanwhile"):
        edit.change(path, slow, None)
    assert path.read_text().endswith("\n\n")


def test_a_manifest_behind_a_link_is_written_where_it_is(path, tmp_path):
    """The link stays a link."""
    link = tmp_path / "elsewhere"
    link.mkdir()
    (link / fleet.MANIFEST).symlink_to(path)
    manifest.add_client(link / fleet.MANIFEST, "cedi", NEW)
    assert (link / fleet.MANIFEST).is_symlink()
    assert "cedi" in path.read_text()


def _add_hosts(path, first):
    for number in range(8):
        manifest.add_host(path, f"h{first}-{number}", {"address": f"198.51.{100 + first}.{number + 1}"})


def test_two_processes_at_once_lose_nothing(path):
    """Every edit of either process is in the file at the end."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_hosts, args=(path, first)) for first in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    hosts = json.loads(path.read_text())["hosts"]
    assert {f"h{first}-{number}" for first in range(2) for number in range(8)} < set(hosts)
    assert [left.name for left in path.parent.iterdir()] == [fleet.MANIFEST]


def _hold(directory, held, go):
    with fleet.locked(directory):
        held.set()
        go.wait(120)


def test_a_held_fleet_is_said_to_be_held_and_dies_with_its_process(tmp_path):
    """A lock that stays held is an error with its own exit code; a killed holder holds nothing."""
    context = multiprocessing.get_context("spawn")
    held, go = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, go))
    holder.start()
    try:
        assert held.wait(120)
        with pytest.raises(LockedError), fleet.locked(tmp_path, wait_s=0.05):
            pass
    finally:
        os.kill(holder.pid, 9)
        holder.join(120)
    with fleet.locked(tmp_path):
        pass


def test_a_client_moves_to_another_host_and_nothing_else_changes(path):
    """The rest of the file keeps its bytes; the same move again changes nothing; both names have to be known."""
    before = json.loads(path.read_text())
    manifest.add_host(path, "vps-9", {"address": "203.0.113.99"})
    assert manifest.move_client(path, "acme", "vps-9", SERVICES)
    after = json.loads(path.read_text())
    assert after["clients"] == {**before["clients"], "acme": {**before["clients"]["acme"], "host": "vps-9"}}
    assert not manifest.move_client(path, "acme", "vps-9", SERVICES)
    for words in (("nobody", "vps-9"), ("acme", "nowhere")):
        with pytest.raises(UsageError):
            manifest.move_client(path, *words)
    assert json.loads(path.read_text()) == after
