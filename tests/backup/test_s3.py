"""Backups on an S3 storage: real restic, the real agent, and a server that verifies every request's signature."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from otobotctl.cli import main as cli
from otobotctl.workflows import converging
from otobotctl.workflows import secrets as workflow
from otobotctl.workflows.backup import restore
from otobotctl.workflows.desired import load
from tests.backup import s3_storage
from tests.backup.test_commands import say, write

TARGET = "offsite"


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One for all of these tests; each client has a bucket or a time of its own."""
    pytest.importorskip("moto", reason="the S3 server is not installed")
    with s3_storage.Storage(tmp_path_factory.mktemp("s3") / "log") as found:
        yield found


@pytest.fixture
def stored(client, storage, monkeypatch):
    """A client with files, whose archives go to the storage; what its host knows is what a deploy writes."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    release = client.opt / "acme/releases/1/release.json"
    release.write_text(json.dumps({**json.loads(release.read_text()), "secret": ["env/mongo.env"]}))
    written = json.loads(client.fleet.manifest.read_text())
    target = {"repository": storage.repository(), "region": s3_storage.REGION}
    keep = {"keep_daily": 1, "keep_weekly": 0, "keep_monthly": 0, "keep_yearly": 0}
    written["clients"]["acme"]["backup"] = {"schedule": "daily", "targets": {TARGET: target}, **keep}
    client.fleet.manifest.write_text(json.dumps(written))
    for name, value in (("ACCESS", storage.access), ("SECRET", storage.secret)):
        workflow.set_given(client.fleet, "acme", f"BACKUP_OFFSITE_{name}_KEY", value)
    workflow.mint(load(client.fleet), "acme")
    deployed(client)
    client.inside("python", """echo '{"stored": 2, "opened": 2, "failed": 0}'""")
    client.inside("node", "echo 3 workflows, 1 credentials that its key opens")
    monkeypatch.setattr(restore, "_prepared", lambda _loaded, done, *_: done)
    return client


def deployed(client, **changed):
    """What a deploy writes on the host: the job as it is rendered, but for sources that this stand-in lacks."""
    from otobotctl.render import backups
    from otobotctl.render.client import services_of

    loaded = load(client.fleet)
    acme = loaded.manifest.client("acme")
    services = services_of(acme, loaded.manifest.host("here"), loaded.catalog)
    values = workflow.known(loaded, "acme")
    write(client, {})
    path = client.jobs / "acme/job.json"
    job = dict(backups.job(acme, services, values))
    job["sources"] = [each for each in json.loads(path.read_text())["sources"] if each["kind"] == "volume"]
    job["targets"] = [{**each, **changed} for each in job["targets"]]
    path.write_text(json.dumps(job))
    (client.jobs / "acme/key").write_text(values["BACKUP_KEY"].reveal())


def test_an_archive_goes_there_is_listed_verified_restored_and_pruned(stored, storage, capsys, monkeypatch):
    """By the credentials that are sealed; the region that is named is not asked for; no credential is ever shown."""
    code, said = say(stored, capsys, "run", "acme")
    assert code == 0, said
    first = said["data"]["made"][0]["archive"]["id"]
    assert any("/otobot/acme/config" in line for line in storage.requests())
    assert not any("location" in line for line in storage.requests())
    code, said = say(stored, capsys, "list", "acme")
    assert [each["id"] for each in said["data"]["archives"]] == [first]
    code, said = say(stored, capsys, "verify", "acme", "--full")
    assert (code, said["data"]["targets"][0]["error"]) == (0, None)
    file = stored.docker / "volumes/otobot-acme_n8n_data/file"
    file.write_text("changed")
    code, said = say(stored, capsys, "restore", "acme", "--at", first, "--yes")
    assert code == 0, said
    assert file.read_text() == "of acme_n8n_data"
    exchanged(stored, capsys, monkeypatch)
    pruned(stored, capsys)


def exchanged(stored, capsys, monkeypatch):
    """`secrets rotate BACKUP_KEY` by the real agent: the former password opens nothing, every archive is still there."""
    before = workflow.known(load(stored.fleet), "acme")["BACKUP_KEY"].reveal()

    def deploy(*_):
        deployed(stored)
        return converging.HostRun("here", 2, (), 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(converging, "deploy", deploy)
        words = ["--json", "--yes", "secrets", "rotate", "acme", "BACKUP_KEY", "--no-backup"]
        code = cli.main(["--fleet", str(stored.fleet.root), *words])
    captured = capsys.readouterr()
    assert code == 0, captured
    assert json.loads(captured.out)["data"]["rotated"] == ["BACKUP_KEY"]
    now = workflow.known(load(stored.fleet), "acme")["BACKUP_KEY"].reveal()
    assert now != before
    assert before not in captured.out + captured.err
    assert now not in captured.out + captured.err
    code, said = say(stored, capsys, "list", "acme")
    assert (code, len(said["data"]["archives"])) == (0, 2)  # the safety archive too
    (stored.jobs / "acme/key").write_text(before)
    code, said = say(stored, capsys, "list", "acme")
    assert code != 0
    (stored.jobs / "acme/key").write_text(now)


def pruned(stored, capsys):
    """By the operator's own restic and the sealed credentials: what is old goes as a whole, what is new stays."""
    values = {name: each.reveal() for name, each in workflow.known(load(stored.fleet), "acme").items()}
    target = load(stored.fleet).manifest.client("acme").backup.targets[TARGET]
    names = {"AWS_ACCESS_KEY_ID": "BACKUP_OFFSITE_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": "BACKUP_OFFSITE_SECRET_KEY"}
    given = {name: values[of] for name, of in {**names, "RESTIC_PASSWORD": "BACKUP_KEY"}.items()}
    at = time.gmtime(time.time() - 20 * 86400)
    old = time.strftime("%Y%m%dT%H%M%SZ", at) + "-abcd"
    for name in ("databases-a.dump", "archive.json"):
        argv = ["restic", "--quiet", "--no-cache", "backup", "--stdin", f"--stdin-filename=/{name}"]
        argv += [f"--tag=archive={old}", "--time=" + time.strftime("%Y-%m-%d %H:%M:%S", at)]
        env = {**os.environ, **given, "RESTIC_REPOSITORY": target.repository, "TZ": "UTC"}
        subprocess.run(argv, input=b"x", env=env, capture_output=True, check=True)
    code = cli.main(["--fleet", str(stored.fleet.root), "--json", "--yes", "backup", "prune", "acme"])
    said = json.loads(capsys.readouterr().out)
    assert (code, said["data"]["forgotten"], len(said["data"]["kept"])) == (0, [old], 2), said
    code, said = say(stored, capsys, "list", "acme")
    assert old not in {each["id"] for each in said["data"]["archives"]}


def test_what_an_s3_storage_refuses_is_told_as_what_it_is(stored, storage, capsys):
    """A wrong secret, an unknown key and a bucket that is not there: each with its kind, and no credential shown."""
    right = {"AWS_ACCESS_KEY_ID": storage.access, "AWS_SECRET_ACCESS_KEY": storage.secret}
    for changed, kind in (
        ({"environment": {**right, "AWS_SECRET_ACCESS_KEY": "a-wrong-secret"}}, "denied"),
        ({"environment": {**right, "AWS_ACCESS_KEY_ID": "AKIAWHOISTHAT"}}, "denied"),
        ({"repository": storage.repository("nowhere")}, "absent"),
    ):
        deployed(stored, **changed)
        code, said = say(stored, capsys, "list", "acme")
        shown = json.dumps(said)
        assert code != 0
        assert "a-wrong-secret" not in shown
        assert storage.secret not in shown
        assert [each["kind"] for each in said["data"]["failed"]] == [kind], said
