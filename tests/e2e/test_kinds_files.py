"""Nine step kinds on one real host, through the engine over SSH: applied, looked at from the host's side, applied again.

`repository/` is a signed apt repository with one small package; the host serves it to itself.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from otobotctl.converge.engine import converge_host
from otobotctl.errors import StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step
from otobotctl.transport.ssh import open_door
from otobotctl.transport.target import Settings, Target
from tests.lab.shell import until

REPOSITORY = Path(__file__).parent / "repository"
FINGERPRINT = "8E0B3D3334885AEF71371D074BC524D99CDA511F"
SERVER = "http://127.0.0.1:8099"
LOOK = f"python3 -c 'import urllib.request as u; u.urlopen(\"{SERVER}\")' 2>/dev/null"
SECRET = "not-for-any-eye-7c1f"


class Heard:
    """Keeps every event; `on` may act on a line of output as it comes."""

    def __init__(self, on):
        self.records = []
        self.on = on

    def event(self, record):
        self.records.append(record)
        if record["event"] == "output":
            self.on(record["text"])

    def output(self):
        return "\n".join(record["text"] for record in self.records if record["event"] == "output")


@pytest.fixture(scope="module")
def host(module_host):
    """The shared host, with the repository served by a unit of its own."""
    shutil.copytree(REPOSITORY, module_host.root / "srv/repository")
    serve = f"python3 -m http.server --bind 127.0.0.1 --directory /srv/repository {SERVER.rpartition(':')[2]}"
    unit = f"[Service]\nExecStart=/usr/bin/{serve}\n[Install]\nWantedBy=multi-user.target\n"
    # Installed, so that a host that is taken back for a second try has it after its boot, too.
    module_host.ssh("cat > /etc/systemd/system/repository.service", input=unit, user="root")
    module_host.ssh("systemctl enable --quiet --now repository", user="root")
    module_host.ssh(f"until {LOOK}; do sleep 0.2; done", user="root")
    return module_host


@pytest.fixture(scope="module")
def converge(host, tmp_path_factory):
    """Converge the host to stages, over SSH as the sudo user; returns the result and what was heard."""
    known_hosts = tmp_path_factory.mktemp("ssh") / "known_hosts"
    known_hosts.write_text("".join(f"kinds {key}\n" for key in host.host_keys()))
    target = Target("kinds", host.address, host.user, host.port, known_hosts=known_hosts, identity=host.key)
    settings = Settings(config=Path("/dev/null"), persist_s=0)

    def run(*stages, on=lambda text: None):
        heard = Heard(on)
        return converge_host(
            lambda: open_door(target, settings=settings), stages, who="test@lab", listener=heard
        ), heard

    return run


def stage(name, **steps):
    """A stage of steps given as name={kind: parameters}."""
    made = []
    for step, body in steps.items():
        ((kind, parameters),) = body.items()
        made.append(Step(f"{name}/{step}", msgspec.convert(parameters, spec_class(kind))))
    return Stage(name, tuple(made))


def accounts(host, state="present"):
    key = public(host.key)
    steps = {
        "group": {"group": {"name": "kinds", "gid": 4711, "state": state}},
        "user": {
            "user": {
                "name": "kinduser",
                "groups": ["kinds", "adm"],
                "shell": "/bin/bash",
                "password_locked": True,
                "state": state,
            }
        },
        "key": {"authorized_key": {"user": "kinduser", "key": key, "state": state}},
    }
    return stage("accounts", **(steps if state == "present" else dict(reversed(steps.items()))))


def public(key):
    argv = ["ssh-keygen", "-y", "-f", str(key)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def paths(state="present"):
    content = {"content": f"TOKEN={SECRET}\n", "secret": True, "mode": "0640", "owner": "kinduser", "group": "kinds"}
    return stage(
        "files",
        directory={"directory": {"path": "/opt/kinds/data", "mode": "2750", "owner": "kinduser", "group": "kinds"}},
        file={"file": {"path": "/opt/kinds/data/env", **content}},
        notes={"file": {"path": "/opt/kinds/notes", "content": "first\nsecond\n"}},
        link={"symlink": {"path": "/opt/kinds/current", "target": "data"}},
        line={"line": {"path": "/etc/login.defs", "line": "UMASK\t\t027", "match": r"^#?UMASK\s"}},
    ) if state == "present" else stage(
        "files",
        link={"symlink": {"path": "/opt/kinds/current", "state": "absent"}},
        notes={"file": {"path": "/opt/kinds/notes", "state": "absent"}},
        file={"file": {"path": "/opt/kinds/data/env", "state": "absent"}},
        directory={"directory": {"path": "/opt/kinds/data", "state": "absent"}},
        line={"line": {"path": "/etc/login.defs", "match": r"^UMASK\s", "state": "absent"}},
    )  # fmt: skip


def repository(fingerprint=FINGERPRINT, name="otobot-test"):
    body = {
        "name": name,
        "uris": [SERVER],
        "suites": ["./"],
        "key_url": f"{SERVER}/key.asc",
        "fingerprint": fingerprint,
    }
    return {"apt_repository": body}


def packages():
    """The first package makes the index fresh; only the repository's being newer makes it read again for the second."""
    return stage(
        "packages",
        tree={"package": {"names": ["no-such-package-here|tree"]}},
        repository=repository(),
        hello={"package": {"names": ["otobot-hello"]}},
    )


def names(*stages):
    return tuple(step.name for each in stages for step in each.steps)


def test_nine_kinds_converge_and_then_match(host, converge):
    """A first run makes everything, in one execution and one a stage; the second is one execution without a change."""
    stages = (accounts(host), paths(), packages())
    first, heard = converge(*stages)
    assert first.changed == names(*stages)
    assert first.executions <= 1 + len(stages)
    assert SECRET not in repr(heard.records)

    host.mark_sessions()
    second, _ = converge(*stages)
    assert (second.changed, second.executions) == ((), 1)
    until(lambda: host.sessions() == 1, "one execution", 60)


def test_what_the_host_says(host):
    """The host's own tools see what was asked for; the new user can log in with the key."""
    assert host.ssh("id -Gn", user="kinduser").stdout.split() == ["kinduser", "adm", "kinds"]
    seen = host.ssh(
        "stat -c '%a %U %G %F' /opt/kinds /opt/kinds/data /opt/kinds/data/env /home/kinduser/.ssh/authorized_keys;"
        "readlink /opt/kinds/current; grep UMASK /etc/login.defs | grep -v '^#'; getent group kinds | cut -d: -f1,3;"
        "passwd --status kinduser | cut -d' ' -f2; cat /usr/share/otobot-hello/hello; tree --version | cut -c1-4",
        user="root",
    ).stdout.splitlines()
    assert seen == [
        "755 root root directory",
        "2750 kinduser kinds directory",
        "640 kinduser kinds regular file",
        "600 kinduser kinduser regular file",
        "data",
        "UMASK\t\t027",
        "kinds:4711",
        "L",
        "hello",
        "tree",
    ]


def test_drift_is_put_right(host, converge):
    """What was changed by hand, and nothing else, is planned and put back."""
    host.ssh("chmod 644 /opt/kinds/data/env; echo third >> /opt/kinds/notes; gpasswd -d kinduser kinds", user="root")
    stages = (accounts(host), paths())
    result, _ = converge(*stages)
    assert result.changed == ("accounts/user", "files/file", "files/notes")
    assert (
        host.ssh("stat -c %a /opt/kinds/data/env; cat /opt/kinds/notes", user="root").stdout == "640\nfirst\nsecond\n"
    )


def test_a_key_with_another_fingerprint_is_not_trusted(host, converge):
    """The step fails, its message names the key, and nothing is left for apt."""
    wrong = "0" * 40
    with pytest.raises(StepFailedError) as caught:
        converge(stage("repository", other=repository(wrong, "other")))
    assert f"does not hold the key {wrong}" in str([caught.value.message, *caught.value.details])
    assert host.ssh("ls /etc/apt/keyrings /etc/apt/sources.list.d", user="root").stdout.count("other") == 0


def test_an_interrupted_dpkg_is_repaired_when_another_apt_lets_go(host, converge):
    """The step waits for whoever holds dpkg's lock and says so, then finishes the package that was left unpacked."""
    hold = (
        "import fcntl, os, time\n"
        "held = open('/var/lib/dpkg/lock-frontend', 'w')\n"
        "fcntl.lockf(held, fcntl.LOCK_EX)\n"
        "open('/run/held', 'w').close()\n"
        "while not os.path.exists('/run/let-go'): time.sleep(0.1)\n"
    )
    host.ssh("dpkg --remove otobot-hello && dpkg --unpack /srv/repository/*.deb", user="root")
    host.ssh("cat > /root/hold.py", input=hold, user="root")
    host.ssh("systemd-run --quiet --unit=hold python3 /root/hold.py", user="root")
    host.ssh("until test -e /run/held; do sleep 0.1; done", user="root")

    def let_go(text):
        if "waiting for another apt or dpkg" in text:
            host.ssh("touch /run/let-go", user="root")

    result, heard = converge(packages(), on=let_go)
    assert result.changed == ("packages/hello",)
    assert "dpkg was interrupted" in heard.output()
    assert "waiting for another apt or dpkg" in heard.output()
    assert host.ssh("dpkg-query -Wf '${db:Status-Status}' otobot-hello").stdout == "installed"


def test_absent(host, converge):
    """Everything can be taken away again, but the home stays; a second run has nothing to do."""
    gone = stage(
        "packages",
        hello={"package": {"names": ["otobot-hello", "tree"], "state": "absent"}},
        repository={"apt_repository": {"name": "otobot-test", "state": "absent"}},
    )
    stages = (gone, paths("absent"), accounts(host, "absent"))
    first, _ = converge(*stages)
    assert first.changed == names(*stages)
    second, _ = converge(*stages)
    assert (second.changed, second.executions) == ((), 1)
    seen = host.ssh(
        "id kinduser; getent group kinds; ls -d /home/kinduser /opt/kinds; ls /opt/kinds", check=False, user="root"
    )
    assert seen.stdout.split() == ["/home/kinduser", "/opt/kinds"]
