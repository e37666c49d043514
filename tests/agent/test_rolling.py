"""How a stateless service is changed: what answers at every moment, also when the run is killed there."""

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from otobotctl.agent import rolling
from otobotctl.agent.run import StepError
from otobotctl.plan.kinds.compose_release import ComposeReleaseSpec
from tests.agent.kinds import releasing


def wanted(number, *, fails=False):
    """Rendering `number` of a project with a stateless service `api` and what it waits for."""
    services = {
        "api": {
            "image": f"lab/api:{number}",
            "labels": {"otobot.drain": "1", "otobot.digest": f"d{number}"},
            "depends_on": {"init": {"condition": "service_completed_successfully"}},
        },
        "init": {"image": "lab/init:1", "depends_on": {"db": {"condition": "service_healthy"}}},
        "db": {"image": "lab/db:1"},
    }
    files = [{"path": "compose.yaml", "content": json.dumps({"services": services})}]
    files += [{"path": "fails", "content": "x"}] if fails else []
    params = {"client": "acme", "project": "otobot-acme", "files": files, "digest": f"digest-{number}", "wait_s": 5}
    return msgspec.convert(params, ComposeReleaseSpec)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose docker is fake_containers.py, with release 1 healthy on it."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as memory:
        made = releasing.Host(tmp_path, Path(memory), monkeypatch)
        shutil.copy(Path(__file__).with_name("fake_containers.py"), tmp_path / "bin/docker")
        monkeypatch.setattr(rolling, "LEARN_S", 0.0)
        made.apply(wanted(1))
        yield made


def containers(host):
    """Which there are, stand-ins marked with a star."""
    found = json.loads((host.fake / "containers").read_text())
    return sorted(f"{each['service']}{'*' if each['stand_in'] else ''} {each['digest']}" for each in found)


def away(host):
    """The moments when nobody answered."""
    path = host.fake / "away"
    return path.read_text().splitlines() if path.exists() else []


def test_a_stand_in_answers_while_the_service_is_replaced(host):
    """It comes after what the service waits for, and goes when the service is well again."""
    host.apply(wanted(2))
    assert containers(host) == ["api d2", "db lab/db:1", "init lab/init:1"]
    assert away(host) == []
    calls = [line for line in host.calls("compose") if " run " in line or " up " in line]
    first, second, third = calls[-3:]
    assert first.endswith("up --detach --quiet-pull db init")
    assert "run --detach --no-deps --use-aliases --name otobot-acme-api-next" in second
    assert "--remove-orphans" in third
    assert "api: a stand-in of the new release answers" in host.said


def test_a_service_that_stays_the_same_gets_no_stand_in(host):
    """A second deploy of the same files, and a first one, start nothing twice."""
    assert not [line for line in host.calls("compose") if " run " in line]
    host.apply(wanted(1))
    assert not [line for line in host.calls("compose") if " run " in line]


def test_a_release_whose_stand_in_fails_never_touches_what_runs(host):
    """The old container is the same before and after, and the failing one's words are the last."""
    with pytest.raises(StepError, match=r"api: exited.*release 1 is back and healthy") as failed:
        host.apply(wanted(2, fails=True))
    assert failed.value.code == "taken_back"
    assert containers(host) == ["api d1", "db lab/db:1", "init lab/init:1"]
    assert away(host) == []


def test_killed_anywhere_somebody_answers_and_a_rerun_leaves_one_container(host):
    """A kill -9 before each program in turn, forwards and backwards again; files are test_compose_release's."""
    kept = host.fake.parent / "kept"
    for folder in (host.root, host.fake):
        shutil.copytree(folder, kept / folder.name, symlinks=True)
    at = 1
    while killed(host, wanted(2), at):
        # Sometimes the operator goes on, sometimes he wants back what was.
        final = 2 if at % 2 else 1
        host.apply(wanted(final))
        assert containers(host) == [f"api d{final}", "db lab/db:1", "init lab/init:1"], at
        assert away(host) == [], at
        assert host.changes(wanted(final)) == []
        at += 1
        for folder in (host.root, host.fake):
            shutil.rmtree(folder)
            shutil.copytree(kept / folder.name, folder, symlinks=True)
    assert at > 15


def killed(host, spec, at: int) -> bool:
    """Apply in a child that gets kill -9 just before the `at`-th program it starts; whether it got there."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event, _args):
            nonlocal seen
            if event in {"subprocess.Popen", "os.posix_spawn"}:
                seen += 1
                if seen == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            host.apply(spec)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("Up 3 seconds (healthy)", "healthy"),
        ("Up 3 seconds (unhealthy)", "unhealthy"),
        ("Up 3 seconds (health: starting)", "starting"),
        ("Up Less than a second", "running"),
        ("Up 2 hours (Paused)", "paused"),
        ("Exited (137) 2 minutes ago", "exited (137)"),
        ("Restarting (1) 5 seconds ago", "restarting (1)"),
        ("Created", "created"),
    ],
)
def test_a_status_is_a_word(status, word):
    """As `docker ps` of several versions writes it."""
    assert rolling.word(status) == word


def test_only_visitors_from_outside_keep_a_container():
    """Of /proc/net/tcp: neither its own connections to a database, nor its health check, nor those that have ended."""
    rows = [
        line.split()
        for line in (
            "0: 00000000:0BB9 00000000:0000 0A",
            "1: 030012AC:9656 020012AC:1538 01",
            "2: 0100007F:0BB9 0100007F:80D6 01",
            "3: 030012AC:0BB9 020012AC:80D6 06",
        )
    ]
    assert rolling.count(rows) == 0
    assert rolling.count([*rows, ["4:", "030013AC:0BB9", "020013AC:80D6", "01"]]) == 1
