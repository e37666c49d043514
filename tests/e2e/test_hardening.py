"""The playbook's hardening on one real host: what is shut, what stays open, and that nothing locks the operator out."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import msgspec
import pytest

from otobotctl.converge.engine import observe_host
from otobotctl.data import data_dir
from otobotctl.errors import StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.kinds.login import LoginSpec
from otobotctl.plan.model import Stage, Step
from otobotctl.plan.playbook import load_playbook
from tests.e2e import driver
from tests.e2e.driver import Way
from tests.lab.shell import LabError
from tests.waiting import until

DROP_IN = "/etc/ssh/sshd_config.d/10-otobot.conf"
CLOSED, OPEN = 8081, 443
SOON_S = 8  # the change itself must be made in this time, also on a busy machine
NOBODY = "AllowUsers nobody-at-all\n"


@pytest.fixture(scope="module")
def host(docker_host):
    return docker_host


@pytest.fixture(scope="module")
def way(host, tmp_path_factory):
    return Way.to(host, tmp_path_factory.mktemp("way"))


@pytest.fixture(scope="module")
def stages():
    """The real playbook of a host that has no client yet."""
    found = {
        "host": SimpleNamespace(docker="distribution", user="ubuntu"),
        "clients": [],
        "front": None,
        "images": [],
        "operators": [],
        "backups": [],
        "backup_packages": [],
    }
    return load_playbook(data_dir("playbooks") / "vps.yaml", found)


@pytest.fixture(scope="module")
def hardened(way, stages):
    return driver.converge(way, *stages)


def stage(name, kind, **parameters):
    return Stage(name, (Step(f"{name}/{kind}", msgspec.convert(parameters, spec_class(kind))),))


def sshd(content, trial_s=600):
    return stage("sshd", "sshd_config", content=content, trial_s=trial_s)


LOGIN = Stage("login", (Step("login/again", LoginSpec()),))


def drop_in(host):
    return host.ssh(f"cat {DROP_IN}", user="root").stdout


def reach(address, port, timeout_s=3):
    """The first bytes that a connection from outside gets, or None when it gets no answer."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as line:
            line.sendall(b"GET /busybox HTTP/1.0\r\n\r\n")
            return line.recv(4)
    except TimeoutError:
        return None


def walled(host):
    """Both containers serve; from outside only the one on the proxy's port answers."""
    assert eventually(lambda: reach(host.address, OPEN)) == b"HTTP"
    page = f"http://{host.address}:{CLOSED}/busybox"
    eventually(lambda: host.ssh(f"curl -sf -o /dev/null {page}", check=False).returncode == 0)
    return not [address for address in (host.address, host.address6) if address and reach(address, CLOSED)]


def eventually(check):
    return until(check, pause_s=0.2, but=(OSError, LabError))


def test_a_host_is_hardened_in_one_execution_a_stage_and_then_matches(way, stages, hardened):
    """Looking costs one execution, each stage one more; the second apply is one execution without a change."""
    assert hardened.executions <= 1 + len(stages)
    assert {"hardening/sshd", "hardening/firewall", "login/again"} <= set(hardened.changed)
    again = driver.converge(way, *stages)
    assert (again.changed, again.executions) == ((), 1)


def test_what_the_host_says(host, hardened):
    """sshd, fail2ban and apt have taken what they were given, and nothing is on trial any more."""
    told = host.ssh(
        "sshd -T; ls /var/lib/otobot/trials /etc/systemd/system; fail2ban-client ping; apt-config dump | grep Periodic; "
        "systemctl is-enabled fail2ban otobot-docker-wall; docker info --format '{{.LiveRestoreEnabled}}'",
        user="root",
    ).stdout
    for line in (
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "allowtcpforwarding local",
        "maxauthtries 5",
        "Server replied: pong",
        'APT::Periodic::Unattended-Upgrade "1";',
        "true",
    ):
        assert line in told.splitlines()
    assert "permitrootlogin without-password" in told or "permitrootlogin prohibit-password" in told
    offered = {line.partition(" ")[0]: line for line in told.splitlines()}
    assert "curve25519-sha256" in offered["kexalgorithms"]
    assert "chacha20-poly1305" in offered["ciphers"]
    assert "hmac-sha2-256-etm" in offered["macs"]
    assert "sha1" not in offered["kexalgorithms"] + offered["macs"]
    assert "cbc" not in offered["ciphers"]
    assert "otobot-trial" not in told


def test_who_tries_passwords_is_banned_and_who_is_logged_in_is_not(host, hardened):
    """Six failures in sshd's log ban their address, whatever OpenSSH calls its process."""
    attacker = "203.0.113.9"
    # The journal asks the kernel for the name of the process that wrote, so it must live until it has been asked.
    program = (
        "import syslog, time; syslog.openlog('sshd-session', 0, syslog.LOG_AUTH); "
        f"[syslog.syslog(f'Invalid user bob from {attacker} port 4200{{n}}') for n in range(6)]; time.sleep(5)"
    )
    host.ssh(f'cp /usr/bin/python3 /tmp/sshd-session; PYTHONHOME=/usr /tmp/sshd-session -c "{program}"', user="root")
    eventually(lambda: attacker in host.ssh("fail2ban-client status sshd", user="root").stdout)
    eventually(lambda: attacker in host.ssh("iptables -S", user="root").stdout)
    asked = "/usr/local/sbin/otobot-logged-in"
    assert host.ssh(f"{asked} ${{SSH_CONNECTION%% *}}", user="root", check=False).returncode == 0
    assert host.ssh(f"{asked} {attacker}", user="root", check=False).returncode == 1


def test_a_container_published_everywhere_does_not_answer_from_outside(host, way, stages, hardened):
    """Over IPv4 and IPv6; the proxy's port does, containers reach each other, and flushed rules come back."""
    serve = "wall /busybox httpd -f -h / -p"
    host.ssh(
        "apt-get install -qq -y busybox-static >/dev/null && tar -C /usr/bin -c busybox | docker import - wall >/dev/null;"
        "docker network create inner >/dev/null;"
        f"docker run -d --init --name web --restart always --network inner -p 0.0.0.0:{CLOSED}:80 -p [::]:{CLOSED}:80 {serve} 80;"
        f"docker run -d --init --name front --restart always -p 0.0.0.0:{OPEN}:80 {serve} 80",
        user="root",
    )

    assert walled(host)
    inside = "docker run --rm --network inner wall /busybox wget -qO /dev/null http://web/busybox"
    assert host.ssh(inside, user="root", check=False).returncode == 0

    host.ssh("iptables -F DOCKER-USER", user="root")
    assert reach(host.address, CLOSED) == b"HTTP", "the control: without the rules it would answer"
    assert driver.converge(way, *stages).changed == ("hardening/docker-wall-stands",)
    assert walled(host)


def test_settings_that_sshd_refuses_change_nothing(host, way, hardened):
    """The step fails with sshd's own words; the file before stays, and there is nothing to take back."""
    before = drop_in(host)
    with pytest.raises(StepFailedError, match="Bad configuration option: NoSuchThing"):
        driver.converge(way, sshd(before + "NoSuchThing yes\n"), LOGIN)
    assert drop_in(host) == before
    assert host.ssh("ls /var/lib/otobot/trials", user="root").stdout == ""


def test_an_earlier_file_that_leaves_passwords_on_is_named(host, way, hardened):
    """Hardening that has no effect is not called done; the file before stays."""
    before = drop_in(host)
    host.ssh("echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/00-x.conf", user="root")
    try:
        with pytest.raises(StepFailedError, match="passwordauthentication would not take effect"):
            driver.converge(way, sshd(before + "# more\n"), LOGIN)
    finally:
        host.ssh("rm /etc/ssh/sshd_config.d/00-x.conf", user="root")
    assert drop_in(host) == before
    assert host.ssh("ls /var/lib/otobot/trials", user="root").stdout == ""


def test_settings_that_let_nobody_in_are_taken_back_by_the_host(host, way, hardened):
    """The apply says so, the next plan too; the next apply with good settings goes through."""
    before = drop_in(host)
    with pytest.raises(StepFailedError, match="sshd was taken back at"):
        driver.converge(way, sshd(before + NOBODY, SOON_S), LOGIN)
    assert drop_in(host) == before
    assert host.ssh("true").returncode == 0
    plans = observe_host(way.open, (sshd(before), LOGIN))
    assert [change.what for plan in plans for step in plan.steps for change in step.changes] == ["trial", "sshd"]
    assert driver.converge(way, sshd(before), LOGIN).changed == ("sshd/sshd_config", "login/again")
    assert driver.converge(way, sshd(before), LOGIN).changed == ()


def test_a_login_from_before_proves_nothing(host, way, hardened, monkeypatch):
    """Over the connection that made the change nothing is confirmed; over a new one it is, by a later command too."""
    content = drop_in(host) + "# again\n"
    with monkeypatch.context() as patched:
        patched.setattr(LoginSpec, "fresh_login", lambda _: False)
        with pytest.raises(StepFailedError, match="this login is older than the change"):
            driver.converge(way, sshd(content), LOGIN)
    assert driver.converge(way, sshd(content), LOGIN).changed == ("login/again",)
    assert drop_in(host) == content
    assert host.ssh("ls /var/lib/otobot/trials; systemctl list-timers", user="root").stdout.count("otobot") == 0


def test_a_power_cut_stops_neither_the_way_back_nor_the_wall(host, way, hardened):
    """Settings that let nobody in, the operator gone, the plug pulled: after its boot the host lets its operators in."""
    before = drop_in(host)
    driver.converge(way, sshd(before + NOBODY, SOON_S))
    host.power_cut()
    host.boot()
    assert drop_in(host) == before
    assert walled(host)
    assert driver.converge(way, sshd(before), LOGIN).changed == ("sshd/sshd_config", "login/again")


def test_a_firewall_that_was_switched_on_is_switched_off_without_a_new_login(host, way, hardened):
    """And kept with one."""
    wall = stage("wall", "firewall", allow=[{"port": OPEN}], trial_s=600)
    host.ssh("ufw disable", user="root")
    driver.converge(way, stage("wall", "firewall", allow=[{"port": OPEN}], trial_s=SOON_S))
    eventually(lambda: "inactive" in host.ssh("ufw status", user="root").stdout)
    eventually(lambda: host.ssh("cat /var/lib/otobot/trials/firewall/restored", user="root", check=False).stdout)
    assert driver.converge(way, wall, LOGIN).changed == ("wall/firewall", "login/again")
    assert "Status: active" in host.ssh("ufw status", user="root").stdout
    assert driver.converge(way, wall, LOGIN).changed == ()
