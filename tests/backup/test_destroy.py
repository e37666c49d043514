"""`client destroy` and its final archive: nothing is removed without one, and a kill at any instant loses nothing."""

import fcntl
import json
import os
import time

import pytest

from otobotctl.backup.sealing import Part
from otobotctl.cli import main as cli
from tests.backup.client_host import MEMBERS, ClientHost
from tests.waiting import until

ENGINES = {"postgres", "mongo"}
VOLUMES = {"otobot-acme_n8n_data", "otobot-acme_librechat_images", "otobot-acme_librechat_uploads"}


def destroy(client, *words):
    """Run it in this process."""
    return cli.main(["client", "destroy", "acme", "--yes", *words, "--fleet", str(client.fleet.root)])


def volumes(client):
    """The volumes that the stand-in has."""
    return {path.name for path in (client.docker / "volumes").iterdir()}


def containers(client):
    """The client's containers, running or not."""
    folder = client.docker / "containers/otobot-acme"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def untouched(client):
    """Whether the other project's containers and volume are as they were."""
    there = [client.docker / name for name in ("containers/otobot-other/web", "running/otobot-other/web")]
    return all(path.exists() for path in there) and "otobot-other_data" in volumes(client)


def test_a_destroy_archives_reads_back_and_then_removes(client, capsys):
    """What writes is stopped first, the databases run on; the archive is whole, consistent and in the fleet."""
    assert destroy(client, "--json") == 0
    data = json.loads(capsys.readouterr().out)["data"]
    (path,) = client.archives()
    assert (data["archive"]["file"], data["archive"]["proved"]) == (str(path), True)
    manifest = client.read(path)
    assert manifest.consistent
    assert {member.name for member in manifest.members} == MEMBERS
    stopped = client.calls("stop --time")[0].split()[3:]
    assert set(stopped) == {f"id-{name}" for name in ("n8n", "vault-api", "librechat")}
    order = [line.split()[0] if line.startswith("stop") else line for line in client.calls("")]
    assert order.index("stop") < next(i for i, line in enumerate(order) if "pg_dump " in line)
    assert containers(client) == set()
    assert not (client.opt / "acme").exists()
    assert volumes(client) >= VOLUMES
    assert untouched(client)
    assert client.calls("start id-") == []


def test_git_takes_no_archive(client):
    """The fleet's own .gitignore names the directory, and the directory ignores itself for fleets made before."""
    assert destroy(client) == 0
    assert "/clients/*/archives/" in client.fleet.gitignore.read_text().split()
    assert (client.fleet.archives("acme") / ".gitignore").read_text() == "*\n"


def test_volumes_go_only_when_asked_for(client):
    """With --volumes the client's, and only the client's, are deleted; the archive holds what was in them."""
    assert destroy(client, "--volumes") == 0
    assert volumes(client) == {"otobot-other_data"}
    assert untouched(client)
    assert len(client.archives()) == 1


def test_a_destroy_without_an_archive_makes_none(client):
    """--no-archive: no file, no stop, and it is gone."""
    assert destroy(client, "--no-archive") == 0
    assert not client.fleet.archives("acme").exists()
    assert client.calls("stop --time") == []
    assert containers(client) == set()


def test_an_archive_may_go_elsewhere(client, tmp_path):
    """--archive FILE; with --no-archive it makes no sense."""
    path = tmp_path / "final.zip.age"
    assert destroy(client, "--archive", str(path), "--no-archive") == 2
    assert destroy(client, "--archive", str(path)) == 0
    assert client.read(path).consistent
    assert not client.fleet.archives("acme").exists()


def test_the_slug_is_asked_for(client, capsys):
    """Without --yes and without anybody to type it: exit 2, nothing is touched."""
    assert cli.main(["client", "destroy", "acme", "--no-archive", "--fleet", str(client.fleet.root)]) == 2
    assert "WITHOUT an archive" in capsys.readouterr().err
    assert client.host.executions == []


def test_a_failing_archive_destroys_nothing_and_starts_everything_again(client, capsys):
    """A dump fails: exit 1, all services run, nothing is removed, no file."""
    before = client.running()
    client.inside("mongodump", "echo 'Failed: connection refused' >&2; exit 1")
    assert destroy(client, "--volumes") == 1
    assert "databases/librechat.archive.gz: mongodump ended with 1" in capsys.readouterr().err
    assert client.running() == before
    assert client.calls("start id-")
    assert client.archives() == []
    assert volumes(client) >= VOLUMES
    assert (client.opt / "acme/current").exists()
    assert client.note() is None


def test_an_archive_that_does_not_read_back_destroys_nothing(client, capsys, monkeypatch):
    """The disk gives back one other bit: exit 1, everything runs again, no file."""
    before = client.running()
    write = Part.write

    def spoilt(part, pieces, recipients):
        sealed = write(part, pieces, recipients)
        with part.path.open("r+b") as stream:
            stream.seek(1_000_000)
            byte = stream.read(1)
            stream.seek(1_000_000)
            stream.write(bytes([byte[0] ^ 1]))
        return sealed

    monkeypatch.setattr(Part, "write", spoilt)
    assert destroy(client) == 1
    assert "does not read back" in capsys.readouterr().err
    until(lambda: client.running() == before)
    assert client.archives() == []
    assert containers(client)


def test_a_second_destroy_takes_the_archive_that_is_there(client):
    """Nothing runs any more: the final archive counts, so that --volumes may follow."""
    assert destroy(client) == 0
    first = client.archives()
    assert destroy(client, "--volumes") == 0
    assert client.archives() == first
    assert volumes(client) == {"otobot-other_data"}


def test_a_lost_or_changed_final_archive_does_not_count(client, capsys):
    """Its digest is not what the host noted: the data stays."""
    assert destroy(client) == 0
    (path,) = client.archives()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert destroy(client, "--volumes") == 1
    assert "--no-archive" in capsys.readouterr().err
    assert volumes(client) >= VOLUMES


def test_data_without_running_databases_is_not_removed(client, capsys):
    """All containers are down and no final archive was made: exit 1 says to deploy, or --no-archive."""
    for path in (client.docker / "running/otobot-acme").iterdir():
        path.unlink()
    assert destroy(client, "--volumes") == 1
    told = capsys.readouterr().err
    assert "otobotctl client deploy acme" in told
    assert volumes(client) >= VOLUMES
    assert containers(client)


def test_a_client_of_which_nothing_is_there_needs_no_archive(client):
    """Nothing on the host: no change, no file."""
    assert destroy(client, "--no-archive", "--volumes") == 0
    assert destroy(client, "--volumes") == 0
    assert not client.archives()


# Each event of the story counts; the process kills itself at the one it is told.
KILLED = """
import os, signal
from otobotctl.backup import packing
from otobotctl.backup.packing import Packing
from otobotctl.backup.sealing import Part
from otobotctl.converge.archiving import Archiving
from otobotctl.workflows import archives, converging
calls = 0
packing._TELL_S = 1e9  # what is told by the clock is no moment

def deadly(holder, name, after=False):
    function = getattr(holder, name)
    def call(*given, **named):
        global calls
        found = function(*given, **named) if after else None
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return found if after else function(*given, **named)
    setattr(holder, name, call)

deadly(Packing, "_tell")
deadly(os, "fsync")
deadly(archives, "check")
deadly(Part, "settle")
deadly(Part, "settle", after=True)
deadly(Archiving, "confirm")
deadly(Archiving, "confirm", after=True)
deadly(converging, "destroy")
code = cli.main(["client", *sys.argv[3:], "--fleet", str(here.fleet.root)])
print("calls", calls)
sys.exit(code)
"""
POINTS = ["1", "2", "12", "19", "-7", "-6", "-5", "-4", "-3", "-2", "-1", "-0"]


@pytest.fixture(scope="module")
def moments(tmp_path_factory):
    """How many moments a whole destroy has."""
    home = os.environ.get("HOME", "")
    whole = ClientHost(tmp_path_factory.mktemp("whole"))
    whole.make()
    done = whole.start(KILLED, "0", "destroy", "acme", "--yes")
    os.environ["HOME"] = home
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_destroy_keeps_a_good_archive_or_everything(moments, client, point):
    """Kill -9 at that moment: services run again or a whole archive is there; the same command then ends well."""
    moment = moments + int(point) if point.startswith("-") else int(point)
    before = client.running()
    killed = client.start(KILLED, str(moment), "destroy", "acme", "--yes")
    assert killed.returncode == -9, killed.stderr
    for path in client.archives():
        if path.suffix != ".part":
            client.read(path)
    whole = [path for path in client.archives() if path.suffix != ".part"]
    if client.note() is None:
        until(lambda: client.running() == before or client.note() is not None)
        assert containers(client)
    if client.note() is not None:
        assert whole
    assert destroy(client) == 0
    assert containers(client) == set()
    assert not (client.opt / "acme").exists()
    assert set(whole) <= set(client.archives())
    assert not [path for path in client.archives() if path.suffix == ".part"]
    client.read(client.archives()[-1])


def test_a_killed_export_leaves_a_part_or_nothing(client):
    """Kill -9 at each moment before the rename: never the final name; a rerun to the same file ends well."""
    path = client.home / "acme.zip.age"
    for moment in ("1", "5", "17"):
        killed = client.start(KILLED, moment, "export", "acme", "--output", str(path))
        assert killed.returncode == -9, killed.stderr
        assert not path.exists()
        assert client.note() is None
    assert cli.main(["client", "export", "acme", "--output", str(path), "--fleet", str(client.fleet.root)]) == 0
    assert client.read(path)
    assert not path.with_name(path.name + ".part").exists()


def test_a_host_that_another_run_holds_is_left_alone(client, capsys):
    """Exit 11 names who holds it; nothing is stopped, no file."""
    lock = client.host.root / "run/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"run": "r", "who": "her@there", "at": time.time(), "pid": 1}))
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert destroy(client) == 11
    assert "her@there" in capsys.readouterr().err
    assert client.calls("stop --time") == []
    assert client.archives() == []
