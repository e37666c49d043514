"""`client export` through the real agent on a stand-in host: what is in the file, and that no fault leaves one."""

import json
import subprocess
import zipfile

import pyrage
import pytest

from otobotctl.cli import main as cli
from otobotctl.secrets import open_store
from tests.backup.client_host import MEMBERS, MONGO_PASSWORD, ROWS


def export(client, *words):
    """Run it in this process; return the exit code and the file."""
    path = client.home / "acme.zip.age"
    return cli.main(
        ["client", "export", "acme", "--output", str(path), *words, "--fleet", str(client.fleet.root)]
    ), path


def opened(client, path, identity=None):
    """Open it with stock age, as a ZIP."""
    plain = path.with_suffix("")
    identity = identity or client.home / ".config/otobotctl/identity.txt"
    subprocess.run(["age", "-d", "-i", str(identity), "-o", str(plain), str(path)], check=True, timeout=60)
    return zipfile.ZipFile(plain)


def left(client):
    """What the export left beside its file."""
    return sorted(path.name for path in client.home.glob("acme*"))


def test_an_export_holds_everything_and_opens_with_stock_tools(client, capsys):
    """Each source, the configuration, the secrets with their values; every digest is that of the manifest."""
    code, path = export(client, "--json")
    assert code == 0
    said = capsys.readouterr()
    data = json.loads(said.out)["data"]
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, data["bytes"])
    with opened(client, path) as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == {*MEMBERS, "manifest.json"}
        assert packed.read("databases/otobot_n8n.dump") == ROWS
        found = json.loads(packed.read("secrets.json"))
        readme = packed.read("README.txt").decode()
        manifest = json.loads(packed.read("manifest.json"))
    store = open_store(client.fleet.client("acme"), [client.home / ".config/otobotctl/identity.txt"])
    assert {name: entry["value"] for name, entry in found.items()} == {n: s.reveal() for n, s in store.values.items()}
    for words in ("pg_restore", "mongorestore", "tar --extract", "secrets.json"):
        assert words in readme
    rows = {m["name"]: m["rows_estimated"] for m in manifest["members"] if m["rows_estimated"]}
    assert rows["databases/otobot_n8n.dump"] == {"public.filler": 12}
    assert manifest["consistent"] is False
    assert client.read(path).release == 1
    for secret in store.values.values():
        assert secret.reveal() not in said.out + said.err
    assert {name for name in left(client) if name.endswith(".part")} == set()


def test_an_export_stops_nothing_and_the_host_notes_it(client):
    """One execution; containers run on; the note says what the file is."""
    before = client.running()
    assert export(client)[0] == 0
    assert client.running() == before
    assert (client.calls("stop --time"), client.calls("start id-")) == ([], [])
    assert len(client.host.executions) == 1
    note = client.note()
    assert (note["file"], note["members"], note["final"]) == ("acme.zip.age", len(MEMBERS), False)


def test_given_recipients_take_the_place_of_the_manifests(client, tmp_path):
    """Sealed for the one who gets it, and not for the fleet."""
    theirs = pyrage.x25519.Identity.generate()
    (tmp_path / "theirs").write_text(str(theirs))
    code, path = export(client, "--recipient", str(theirs.to_public()))
    assert code == 0
    with opened(client, path, tmp_path / "theirs") as packed:
        assert "manifest.json" in packed.namelist()
    with pytest.raises(subprocess.CalledProcessError):
        opened(client, path)


def test_mongos_password_goes_in_by_a_configuration_on_stdin(client):
    """The program gets it whole, whatever characters it has, and no command line holds it."""
    assert export(client)[0] == 0
    (config,) = (client.docker / "mongo-config").read_text().splitlines()
    name, _, value = config.partition(": ")
    assert (name, json.loads(value)) == ("password", MONGO_PASSWORD)
    (call,) = client.calls("mongodump")
    assert "exec -T mongo mongodump --config=/dev/stdin" in call
    assert "--db=librechat --archive --gzip" in call
    assert not client.calls(MONGO_PASSWORD[:6])


def test_a_dump_that_fails_leaves_no_file(client, capsys):
    """After a megabyte of good bytes: exit 1, the member and the program's own words, and nothing on disk."""
    client.inside("pg_dump", "cat @HERE@/rows; echo 'pg_dump: error: out of shared memory' >&2; exit 1")
    code, path = export(client)
    assert code == 1
    told = capsys.readouterr().err
    assert "databases/otobot_frontend.dump: pg_dump ended with 1: pg_dump: error: out of shared memory" in told
    assert left(client) == []
    assert client.note() is None
    assert not path.exists()


def test_a_failing_mongodump_cannot_tell_its_password(client, capsys):
    """What it says on stderr is shown without the password that it was told."""
    client.inside(
        "mongodump", "cat >/dev/null; echo 'auth failed for " + MONGO_PASSWORD.replace("'", "") + "' >&2; exit 1"
    )
    assert export(client)[0] == 1
    told = capsys.readouterr().err
    assert "auth failed for ***" in told
    assert MONGO_PASSWORD not in told


def test_a_container_that_is_down_is_named(client, capsys):
    """PostgreSQL does not run: the member that cannot be had, and why."""
    (client.docker / "running/otobot-acme/postgres").unlink()
    assert export(client)[0] == 1
    told = capsys.readouterr().err
    assert "databases/roles.sql" in told
    assert 'service "postgres" is not running' in told
    assert left(client) == []


def test_a_missing_volume_is_told_before_anything_is_streamed(client, capsys):
    """No block is sent."""
    (client.docker / "volumes/otobot-acme_n8n_data/file").unlink()
    (client.docker / "volumes/otobot-acme_n8n_data").rmdir()
    assert export(client)[0] == 1
    assert "volumes/n8n_data.tar: Error: no such volume" in capsys.readouterr().err
    assert client.calls("pg_dump") == []


def test_a_client_that_is_not_deployed_is_told(client, capsys):
    """Nothing there: a message, no file."""
    (client.opt / "acme/current").unlink()
    assert export(client)[0] == 1
    assert "nothing is deployed" in capsys.readouterr().err
    assert left(client) == []


def test_files_that_change_while_they_are_read_make_an_archive_that_says_so(client):
    """Exit status 1 of tar: the member is whole, noted, and the archive not consistent."""
    client.host.add_program("tar", "#!/bin/sh\necho data; echo 'tar: ./file: file changed as we read it' >&2; exit 1\n")
    code, path = export(client)
    assert code == 0
    manifest = client.read(path)
    assert manifest.consistent is False
    notes = {member.name: member.note for member in manifest.members if member.note}
    assert notes["volumes/n8n_data.tar"] == "tar: ./file: file changed as we read it"


@pytest.mark.parametrize("block", [1, 5, 9])
def test_a_line_that_is_cut_leaves_no_file(client, block, capsys):
    """In the middle of a member: exit 13, nothing on disk."""
    seen = []

    def reached(line):
        seen.extend([line] if line.startswith(b'{"block"') else [])
        return len(seen) == block

    client.host.cut_after = reached
    assert export(client)[0] == 13
    assert "the line broke" in capsys.readouterr().err
    assert left(client) == []
    assert client.note() is None


def test_an_agent_that_dies_leaves_no_file(client):
    """Its stream ends within a member, without a word: exit 13, nothing on disk."""
    client.inside("pg_dump", "cat @HERE@/rows; kill -9 $PPID; sleep 1")
    assert export(client)[0] in {1, 13}
    assert left(client) == []


def test_one_flipped_bit_on_the_way_is_noticed(client, capsys):
    """The member is named, and nothing is left."""
    blocks = []

    def flip(data):
        blocks.append(data)
        return data if len(blocks) != 5 else bytes([data[0] ^ 1]) + data[1:]

    client.host.spoil = flip
    assert export(client)[0] == 1
    assert "did not arrive as here sent it" in capsys.readouterr().err
    assert left(client) == []


def test_a_full_disk_is_told_and_leaves_nothing(client):
    """The operator's disk takes a megabyte: exit 1, what to do, no file."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "sys.exit(cli.main(['client', 'export', 'acme', '--output', sys.argv[2], '--fleet', str(here.fleet.root)]))"
    )
    done = client.start(script, str(client.home / "acme.zip.age"))
    assert done.returncode == 1, done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert "free some room" in done.stderr
    assert left(client) == []


def test_a_file_that_is_there_is_not_replaced(client, capsys):
    """Exit 2, and it is what it was."""
    path = client.home / "acme.zip.age"
    path.write_text("mine")
    assert export(client)[0] == 2
    assert path.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


def test_a_directory_gets_a_file_with_the_client_and_the_time(client):
    """--output may be a directory."""
    words = ["client", "export", "acme", "--output", str(client.home), "--fleet", str(client.fleet.root)]
    assert cli.main(words) == 0
    (name,) = left(client)
    assert name.startswith("acme-20")
    assert name.endswith("Z.zip.age")


def test_memory_does_not_grow_with_the_client(client):
    """Two dumps of 400 MB: the operator's side and the agent's stay below 100 MB each.

    The kernel's figure for this process alone: that of getrusage begins with the size of the process that started it.
    """
    client.inside("pg_dump", "head -c 400000000 /dev/zero")
    script = (
        "import re, resource\n"
        "code = cli.main(['client', 'export', 'acme', '--output', sys.argv[2], '--fleet', str(here.fleet.root)])\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(code)"
    )
    path = client.home / "acme.zip.age"
    done = client.start(script, str(path))
    assert done.returncode == 0, done.stderr
    ours, theirs = (int(word) for word in done.stdout.split()[-2:])
    assert ours < 100_000
    assert theirs < 100_000
    assert path.stat().st_size > 800_000_000
    path.unlink()


def test_what_a_release_does_not_have_yet_is_not_asked_for(client, capsys):
    """Before the deploy that brings a service there is no database of it; what is there is archived all the same."""
    record = client.opt / "acme/releases/1/release.json"
    told = json.loads(record.read_text())
    del told["images"]["librechat"]
    record.write_text(json.dumps(told))
    code, path = export(client)
    assert code == 0, capsys.readouterr().err
    names = {member.name for member in client.read(path).members}
    assert not {name for name in names if "librechat" in name}
    assert "databases/otobot_n8n.dump" in names
