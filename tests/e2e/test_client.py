"""The main job on a real host: a bare Debian becomes a client's healthy server with one command."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployed import (
    DIGEST,
    DOMAIN,
    FILL,
    Deployed,
    change_setting,
    eventually,
    in_database,
    names,
    releases,
    restored,
    unpacked,
    visit,
)
from tests.e2e.operator import Operator
from tests.e2e.watch import ProcessLists, found_in_files
from tests.lab.lab import Lab

STAGES = 11


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory) -> Iterator[Deployed]:
    """One host that has Docker and the images, one client, deployed by one command; test_full_stack begins from bare."""
    host = lab.make("warm")
    try:
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.init()
        operator.add_host("vps-1", host)
        with ProcessLists() as lists:
            done = operator.run(
                "client", "create", "acme", "--company", "ACME SAS", "--email", "it@acme.example", "--host", "vps-1",
                "--domain", DOMAIN, "--tls", "self-signed", "--deploy", "--json",
            )  # fmt: skip
        yield Deployed(operator, host, lists.text(), json.loads(done.stdout)["data"])
    finally:
        lab.destroy(host)


def test_the_client_answers_through_nginx(deployed):
    """From outside, by its name, over TLS: the vault API is healthy."""
    status, body = visit(deployed.host, "/health")
    assert status == 200
    assert b'"status"' in body


def test_a_first_apply_costs_at_most_two_executions_a_stage(deployed):
    """One looks at everything; each stage that differs costs one more."""
    assert 2 <= deployed.result["executions"] <= 2 * STAGES
    assert deployed.result["changed"]


def test_a_second_apply_is_one_execution_and_no_change(deployed):
    """Counted by the host's own sshd."""
    deployed.host.mark_sessions()
    again = deployed.operator.data("host", "apply", "vps-1")
    assert again["changed"] == []
    assert again["executions"] == 1
    eventually(lambda: deployed.host.sessions() == 1, 60)


def test_plan_and_diff_of_a_host_that_matches_are_empty(deployed):
    """Nothing to do, said with exit code 0 even with --check."""
    assert deployed.operator.data("host", "plan", "vps-1", "--check")["steps"] == []
    assert deployed.operator.data("client", "diff", "acme", "--check")["steps"] == []


def test_facts_name_every_step(deployed):
    """Each step of the playbook has its answer."""
    found = deployed.operator.data("host", "facts", "vps-1")
    assert "base/packages" in found["facts"]
    assert found["boot_id"]


def test_status_of_a_deployed_client(deployed):
    """One execution tells what Docker, the release and the proxy's own certificate say."""
    deployed.host.mark_sessions()
    found = deployed.operator.data("status", "vps-1")["hosts"][0]
    releases = {release["client"]: release for release in found["releases"]}
    assert releases.keys() == {"acme", "front"}
    acme = releases["acme"]
    assert acme["release"] >= 1
    assert (acme["matches"], acme["trouble"]) == (True, {})
    assert {acme["services"][name] for name in ("postgres", "vault-api")} == {"healthy"}
    assert acme["certificate"] == "self-signed"
    assert acme["certificate_days"] > 3000
    assert releases["front"]["matches"] is True
    assert releases["front"]["services"]["nginx"] == "healthy"
    assert found["machine"]["docker_error"] is None
    assert found["last"]["state"] == "ok"
    eventually(lambda: deployed.host.sessions() == 1, 60)


def test_no_secret_is_anywhere_it_can_be_read(deployed):
    """Each minted value: not in any process list, journal, log or temporary file, nor in what the command said."""
    values = list(deployed.operator.secrets("acme").values())
    assert len(values) >= 6
    assert all(len(value) >= 16 for value in values)
    said = "".join(deployed.operator.said)
    journal = deployed.host.ssh("journalctl --no-pager --output=export", user="root").stdout
    for value in values:
        assert value not in deployed.processes
        assert value not in said
        assert value not in journal
    assert "docker" in deployed.processes  # the control: it did look while the deploy ran
    places = ("/tmp", "/var/tmp", "/var/log", "/var/lib/otobot", "/run/otobot", "/home", "/root", "/etc")
    assert found_in_files(deployed.host, values, *places) == []
    env_files = found_in_files(
        deployed.host, values, "/opt/otobot"
    )  # the control: grep does find them where they belong
    assert env_files
    modes = deployed.host.ssh(f"stat -c '%a %U' {' '.join(env_files)}", user="root").stdout.split("\n")
    assert {mode for mode in modes if mode} == {"600 root"}
    for path in deployed.operator.fleet.rglob("*"):
        if path.is_file():
            assert not [value for value in values if value.encode() in path.read_bytes()], path
    for path in Path("/tmp").glob("*"):
        if path.is_file() and path.stat().st_size < 10_000_000:
            assert not [value for value in values if value.encode() in path.read_bytes()], path


def test_the_vault_from_the_command_line(deployed):
    """A trial of it, a user, an API key, the audit, the tokens; what is shown once is nowhere else on the host."""
    operator = deployed.operator
    with ProcessLists() as lists:
        assert operator.data("vault", "smoke", "acme")["steps"][-1] == "erase the user"
        password = operator.run("vault", "user", "add", "acme", "lea@acme.example", "--name", "Léa").stdout.strip()
        assert "lea@acme.example" in [user["email"] for user in operator.data("vault", "user", "list", "acme")]
        key = operator.run("vault", "apikey", "create", "acme", "ci", "--scope", "users.read").stdout.strip()
        assert operator.data("vault", "tokens", "acme")["tokens"] == []
        found = operator.data("vault", "audit", "verify", "acme")
    assert found["broken"] == []
    assert found["rows"] > 5
    assert (operator.fleet / "clients/acme/audit-anchor.json").exists()
    assert len(password) > 20
    assert key.startswith("otk_")
    seen, journal = lists.text(), deployed.host.ssh("journalctl --no-pager --output=export", user="root").stdout
    secrets = [password, key, *operator.secrets("acme").values()]
    assert "docker exec" in seen  # the control: it did look while the commands ran
    for value in secrets:
        assert value not in seen
        assert value not in journal
    places = ("/tmp", "/var/tmp", "/var/log", "/var/lib/otobot", "/run/otobot", "/home", "/root", "/etc")
    assert found_in_files(deployed.host, secrets, *places) == []


def test_the_master_key_is_replaced_while_the_vault_answers(deployed, record_property):
    """One command; the old key is in no file of the release that runs, and the proxy has an answer nearly all along."""
    before = deployed.operator.secrets("acme")["ENCRYPTION_MASTER_KEY"]
    answered, stop = [time.monotonic()], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, IndexError, ValueError):
                if visit(deployed.host, "/health")[0] == 200:
                    answered.append(time.monotonic())
            stop.wait(0.1)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        done = deployed.operator.data("vault", "rotate-key", "acme", "--yes")
    finally:
        stop.set()
        asker.join()
    away = sorted(after - one for one, after in itertools.pairwise(answered))[-2:]
    record_property("longest_silences_s", away)
    print(f"away for {away} s, {done}")
    assert (done["version"], done["resumed"]) == (2, False)
    now = deployed.operator.secrets("acme")
    assert now["ENCRYPTION_MASTER_KEY"] != before
    assert "ENCRYPTION_MASTER_KEY_PREVIOUS" not in now
    assert found_in_files(deployed.host, [before], "/opt/otobot/acme/current/") == []
    assert found_in_files(deployed.host, [now["ENCRYPTION_MASTER_KEY"]], "/opt/otobot/acme/current/")


def test_only_ssh_and_the_proxy_answer_from_outside(deployed):
    """A connect test from outside: PostgreSQL and the vault API are there, and cannot be reached."""
    listening = deployed.host.ssh("ss -Hltn").stdout
    assert "127.0.0.1:3001" in listening

    def answers(port: int) -> bool:
        try:
            with socket.create_connection((deployed.host.address, port), 3):
                return True
        except OSError:
            return False

    assert [port for port in (22, 80, 443) if not answers(port)] == []
    assert [port for port in (3001, 5432, 8080, 2375) if answers(port)] == []


def test_http_is_sent_to_https(deployed):
    """Port 80 redirects to the same name."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    request = urllib.request.Request(f"http://{deployed.host.address}/", headers={"Host": DOMAIN})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(Stay).open(request, timeout=30)
    with refused.value as answer:
        assert answer.code in {301, 308}
        assert answer.headers["Location"].startswith(f"https://{DOMAIN}")


def test_a_killed_deploy_converges_when_it_is_run_again(deployed):
    """A kill -9 in the middle of a deploy: the same command ends with one healthy release."""
    change_setting(deployed.operator, max_connections=120)
    running = deployed.operator.start("client", "deploy", "acme")
    try:
        eventually(
            lambda: (
                "02" in "".join(releases(deployed.host))
                or len(releases(deployed.host)) > 2
                or running.poll() is not None
            )
        )
    finally:
        running.kill()
        running.wait()
    deployed.operator.run("client", "deploy", "acme")
    assert visit(deployed.host, "/health")[0] == 200
    found = releases(deployed.host)
    assert not [name for name in found if name.endswith(".part")]
    assert deployed.operator.data("host", "apply", "vps-1")["changed"] == []


def test_a_power_cut_in_a_deploy_converges_when_it_is_run_again(deployed):
    """The plug is pulled while a container is replaced: after the boot the same command ends with one healthy release."""
    change_setting(deployed.operator, max_connections=130)
    running = deployed.operator.start("client", "deploy", "acme")
    try:
        eventually(lambda: half_replaced(deployed.host) or running.poll() is not None, pause_s=0.02)
        deployed.host.power_cut()
    finally:
        running.kill()
        running.wait()
    deployed.host.boot()
    deployed.operator.run("client", "deploy", "acme")
    eventually(lambda: visit(deployed.host, "/health")[0] == 200)
    assert deployed.operator.data("host", "apply", "vps-1")["changed"] == []
    assert half_replaced(deployed.host) == []


def half_replaced(host):
    """The names that Compose gives to new containers until the old ones are gone; read on the disk, to be in time."""
    files = (host.root / "var/lib/docker/containers").glob("*/config.v2.json")
    found = (re.search(r'"Name":"/([0-9a-f]{12}_otobot-acme-[^"]*)"', file.read_text()) for file in files)
    return [each[1] for each in found if each]


def test_an_older_version_of_a_database_is_refused(deployed):
    """The plan says downgrade in words; a deploy ends with 10 before anything is touched, --force or not asked for."""
    before = releases(deployed.host)
    change_setting(deployed.operator, max_connections=130, version="13.2")
    planned = deployed.operator.data("client", "diff", "acme")
    changes = [change for step in planned["steps"] for change in step["changes"]]
    assert [change["before"].split(".")[0] for change in changes if change["what"] == "downgrade postgres"] == ["16"]
    refused = deployed.operator.run("client", "deploy", "acme", check=False)
    assert refused.returncode == 10
    assert "downgrade postgres" in refused.stderr
    assert releases(deployed.host) == before
    change_setting(deployed.operator, max_connections=130)


def test_a_release_that_does_not_become_healthy_is_taken_back(deployed):
    """Exit code 5 with the containers' own words; the release before serves on."""
    change_setting(deployed.operator, max_connections=130, shared_buffers="900000GB")
    failed = deployed.operator.run("client", "deploy", "acme", check=False)
    assert failed.returncode == 5
    change_setting(deployed.operator, max_connections=130)
    eventually(lambda: visit(deployed.host, "/health")[0] == 200)
    deployed.operator.run("client", "deploy", "acme")


def test_an_export_opens_with_stock_tools_and_restores_every_row(deployed, tmp_path):
    """Rows are compared after age, unzip and pg_restore; no secret is seen in a process list, nor plain on a disk."""
    operator, host = deployed.operator, deployed.host
    told = {each["client"]: each["archive"] for each in operator.data("status", "vps-1")["hosts"][0]["releases"]}
    assert (told["acme"] or {}).get("file") != "acme.zip.age"  # a deploy may have made one before
    in_database(host, FILL)
    before = in_database(host, DIGEST)
    assert before.startswith("50000|")
    sealed = tmp_path / "acme.zip.age"
    host.mark_sessions()
    with ProcessLists() as lists:
        data = operator.data("client", "export", "acme", "--output", str(sealed))
    eventually(lambda: host.sessions() == 1, 60)
    values = operator.secrets("acme")
    assert not [name for name, value in values.items() if value in lists.text()]
    assert "pg_dump" in lists.text()  # the control
    assert not [name for name, value in values.items() if value.encode() in sealed.read_bytes()]
    assert not list(tmp_path.glob("*.part"))
    assert (sealed.stat().st_mode & 0o777, sealed.stat().st_size) == (0o600, data["bytes"])
    unpacked(operator, sealed, tmp_path / "out")
    assert restored(host, tmp_path / "out/databases/otobot_frontend.dump") == before
    found = json.loads((tmp_path / "out/secrets.json").read_text())
    assert {name: entry["value"] for name, entry in found.items()} == values
    roles = (tmp_path / "out/databases/roles.sql").read_text()
    assert "CREATE ROLE vault_owner" in roles
    assert "PASSWORD" not in roles
    assert (tmp_path / "out/configuration/compose.yaml").read_text().count("\nname: otobot-acme\n") == 1
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    rows = {member["name"]: member["rows_estimated"] for member in manifest["members"]}
    assert "public.filler" in rows["databases/otobot_frontend.dump"]
    assert found_in_files(host, ["PGDMP"], "/tmp", "/var/tmp", "/var/lib/otobot") == []
    told = {each["client"]: each["archive"] for each in operator.data("status", "vps-1")["hosts"][0]["releases"]}
    assert (told["acme"]["file"], told["acme"]["bytes"], told["acme"]["final"]) == (
        "acme.zip.age",
        data["bytes"],
        False,
    )


def test_an_export_of_a_database_that_is_down_leaves_no_file(deployed, tmp_path):
    """The member and the reason are told; the client's other containers run on."""
    deployed.host.ssh("docker stop otobot-acme-postgres-1", user="root")
    try:
        failed = deployed.operator.run("client", "export", "acme", "--output", str(tmp_path / "a.zip.age"), check=False)
    finally:
        deployed.host.ssh("docker start otobot-acme-postgres-1", user="root")
    assert failed.returncode == 1
    assert "databases/roles.sql" in failed.stderr
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: visit(deployed.host, "/health")[0] == 200)


def test_a_killed_destroy_starts_the_client_again(deployed):
    """Kill -9 while the final archive is made: what was stopped runs again, and no archive looks whole."""
    archives = deployed.operator.fleet / "clients/acme/archives"
    in_database(
        deployed.host, "CREATE TABLE public.slow AS SELECT gen_random_bytes(1000) FROM generate_series(1, 100000)"
    )
    running = deployed.operator.start("client", "destroy", "acme", "--yes")
    try:
        eventually(lambda: list(archives.glob("*.part")) or running.poll() is not None)
    finally:
        running.kill()
        running.wait()
    eventually(lambda: "otobot-acme-vault-api-1" in names(deployed.host, "ps", "{{.Names}}"))
    assert list(archives.glob("*.age")) == []
    eventually(lambda: visit(deployed.host, "/health")[0] == 200)
    in_database(deployed.host, "DROP TABLE public.slow")


def test_destroy_keeps_a_good_archive_and_touches_nothing_else(deployed, tmp_path):
    """Containers, releases and routes go, the volume stays until --volumes; a stranger's container and volume remain."""
    host, operator = deployed.host, deployed.operator
    host.ssh("docker volume create otobot-acme2_data", user="root")
    image = host.ssh("docker inspect --format '{{.Config.Image}}' otobot-acme-postgres-1", user="root").stdout.strip()
    host.ssh(
        "docker run --detach --name stranger --volume otobot-acme2_data:/data --label com.docker.compose.project=otobot-acme2 "
        f"--entrypoint sleep {image} 3600",
        user="root",
    )
    before = in_database(host, DIGEST)
    done = operator.data("client", "destroy", "acme", "--yes")
    (sealed,) = (operator.fleet / "clients/acme/archives").glob("*.age")
    assert (done["archive"]["file"], done["archive"]["proved"], done["archive"]["consistent"]) == (
        str(sealed),
        True,
        True,
    )
    assert "stranger" in names(host, "ps", "{{.Names}}")
    left = names(host, "ps --all", "{{.Names}}")
    assert not [name for name in left if name.startswith("otobot-acme-")]
    assert "acme" not in host.ssh("ls /opt/otobot", user="root").stdout.split()
    assert "otobot-acme_postgres_data" in names(host, "volume ls", "{{.Name}}")
    again = operator.data("client", "destroy", "acme", "--yes", "--volumes")
    assert again["archive"]["file"] == str(sealed)
    assert names(host, "volume ls", "{{.Name}}") & {"otobot-acme_postgres_data", "otobot-acme2_data"} == {
        "otobot-acme2_data"
    }
    assert "stranger" in names(host, "ps", "{{.Names}}")
    operator.run("client", "deploy", "acme")
    unpacked(operator, sealed, tmp_path / "out")
    assert restored(host, tmp_path / "out/databases/otobot_frontend.dump") == before
    host.ssh("docker rm --force stranger; docker volume rm otobot-acme2_data", user="root")
