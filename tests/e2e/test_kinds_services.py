"""The step kinds that keep things running, on one real host through the engine: applied, looked at, applied again."""

from __future__ import annotations

import json
import socket
import time

import msgspec
import pytest

from otobotctl.converge.engine import converge_host
from otobotctl.errors import StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step
from tests.e2e.driver import ME, Heard, Way
from tests.lab import images
from tests.waiting import until

SECRET = "kept-from-every-eye-41c7"
OPEN, CLOSED, SECOND_SSH = 8080, 8081, 2222
UNIT = """[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /srv {port}
StandardOutput=null
StandardError=null

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def host(warm_host):
    return warm_host


@pytest.fixture(scope="module")
def converge(host, tmp_path_factory):
    """Converge the host to stages, over SSH as the sudo user; returns the result and all output heard."""
    way = Way.to(host, tmp_path_factory.mktemp("way"))

    def run(*stages):
        heard = Heard()
        try:
            result = converge_host(way.open, stages, who=ME, listener=heard)
        except StepFailedError as error:
            error.heard = "\n".join(record["text"] for record in heard.named("output"))
            raise
        return result, repr(heard.records)

    return run


def stage(name, **steps):
    """A stage of steps given as name={kind: parameters}."""
    made = []
    for step, body in steps.items():
        ((kind, parameters),) = body.items()
        made.append(Step(f"{name}/{step}", msgspec.convert(parameters, spec_class(kind))))
    return Stage(name, tuple(made))


def names(*stages):
    return tuple(step.name for each in stages for step in each.steps)


def system(greeting="hello"):
    """A setting, a service with a file it reads, a second port for SSH, a timer, a command and a wait."""
    ssh = "/etc/ssh/sshd_config.d/20-port.conf"
    return stage(
        "system",
        sysctl={"sysctl": {"name": "kinds", "settings": {"net.ipv4.tcp_keepalive_time": 600, "net.ipv4.tcp_rmem": "4096  131072 4194304"}}},
        unit={"file": {"path": "/etc/systemd/system/kinds-web.service", "content": UNIT.format(port=OPEN)}},
        page={"file": {"path": "/srv/greeting", "content": greeting}},
        web={"service": {"name": "kinds-web", "watches": ["/etc/systemd/system/kinds-web.service", "/srv"]}},
        port={"file": {"path": ssh, "content": f"Port 22\nPort {SECOND_SSH}\n"}},
        sshd={"service": {"name": "ssh", "watches": [ssh]}},
        timer={"timer": {"name": "kinds-tick", "on_calendar": "*-*-* 03:00:00", "argv": ["/usr/bin/touch", "/run/tick 100% $HOME"]}},
        command={"command": {"argv": ["sh", "-c", "id -un > $WHERE; pwd >> $WHERE"], "creates": "/tmp/kinds-me", "cwd": "/srv", "user": "ubuntu", "env": {"WHERE": "/tmp/kinds-me"}}},
        ready={"wait_for": {"url": f"http://127.0.0.1:{OPEN}/greeting"}},
    )  # fmt: skip


def walled(*ports):
    return stage("wall", firewall={"firewall": {"allow": [{"port": port} for port in ports]}})


def image():
    nginx = next(reference for reference in images.references() if images.kind(reference) == "nginx")
    files = [
        {"path": "Dockerfile", "content": f"FROM {nginx}\nCOPY about /srv/about\n"},
        {"path": "about", "content": "built here\n"},
    ]
    return {"name": "kinds/web", "files": files}


def release(number, *, page="one", serve="/www", **more):
    reference = msgspec.convert(image(), spec_class("docker_image")).reference()
    web = {
        "image": reference,
        "entrypoint": [],
        "command": ["busybox", "httpd", "-f", "-p", "80", "-h", serve],
        "healthcheck": {
            "test": ["CMD", "busybox", "wget", "-qO-", "http://127.0.0.1/index.html"],
            "interval": "1s",
            "retries": 3,
        },
        "ports": ["127.0.0.1:8090:80"],
        "env_file": ["web.env"],
        "volumes": ["./index.html:/www/index.html:ro", "kept:/kept"],
        "labels": {"page": page},
        "stop_grace_period": "1s",
    }
    init = {"image": reference, "entrypoint": [], "command": ["true"], "network_mode": "none"}
    idle = {
        "image": reference,
        "entrypoint": [],
        "command": ["sleep", "infinity"],
        "depends_on": {"init": {"condition": "service_completed_successfully"}},
        "init": True,
        "stop_grace_period": "1s",
    }
    project = {"services": {"web": web, "init": init, "idle": idle}, "volumes": {"kept": {}}}
    files = [
        {"path": "compose.yaml", "content": json.dumps(project)},
        {"path": "index.html", "content": page},
        {"path": "web.env", "content": f"TOKEN={SECRET}\n", "mode": "0600", "secret": True},
    ]
    return {
        "client": "acme",
        "project": "otobot-acme",
        "digest": f"digest-{number}",
        "files": files,
        "wait_s": 60,
        **more,
    }


def deployed(number, **more):
    return stage("release", image={"docker_image": image()}, acme={"compose_release": release(number, **more)})


def opens(host, port, address=None):
    """A TCP connection from outside gets through, soon."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection((address or host.address, port), timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return True
    return False


def dropped(host, port, address=None):
    """A TCP connection from outside gets no answer at all, which is what ufw's policy gives."""
    try:
        socket.create_connection((address or host.address, port), timeout=3).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def page(host):
    return host.ssh("curl -sf http://127.0.0.1:8090/index.html").stdout


def started(host, name):
    """When a container was started."""
    return host.ssh(f"docker inspect -f '{{{{.State.StartedAt}}}}' otobot-acme-{name}-1", user="root").stdout


def test_everything_converges_and_then_matches(host, converge):
    """One execution to look and one a stage; the second time one execution and no change. No secret is in the events."""
    host.ssh("apt-get install -y -qq ufw; ufw allow 9/tcp", user="root")
    stages = (system(), walled(OPEN), deployed(1))
    first, events = converge(*stages)
    assert first.changed == names(*stages)
    assert first.executions <= 1 + len(stages)
    assert SECRET not in events

    second, _ = converge(*stages)
    assert (second.changed, second.executions) == ((), 1)


def test_what_the_host_says(host):
    """The host's own tools see what was asked for."""
    seen = host.ssh(
        "sysctl -n net.ipv4.tcp_keepalive_time net.ipv4.tcp_rmem; systemctl is-enabled kinds-web kinds-tick.timer;"
        "systemctl is-active kinds-web kinds-tick.timer; cat /tmp/kinds-me; systemctl start kinds-tick.service; ls /run | grep tick;"
        "stat -c '%a %U' /opt/otobot/acme /opt/otobot/acme/current/web.env; readlink /opt/otobot/acme/current;"
        "stat -c %a /var/lib/otobot/stamps",
        user="root",
    ).stdout.splitlines()
    assert seen == [
        *("600", "4096\t131072\t4194304", "enabled", "enabled", "active", "active", "ubuntu", "/srv"),
        *("tick 100% $HOME", "700 root", "600 root", "releases/1", "700"),
    ]
    assert page(host) == "one"


def test_the_firewall_blocks_what_it_should_and_never_ssh(host, converge):
    """From outside: wanted ports and both of SSH's pass over IPv4, another does not; a rule taken away closes its port."""
    host.ssh(f"systemd-run --quiet --unit=kinds-closed python3 -m http.server {CLOSED}", user="root")
    host.ssh(f"until curl -s -o /dev/null http://127.0.0.1:{CLOSED}; do sleep 0.2; done")
    assert all(opens(host, port) for port in (22, SECOND_SSH, OPEN))
    assert dropped(host, CLOSED)
    if host.address6:
        assert opens(host, 22, host.address6)
        assert dropped(host, CLOSED, host.address6)

    result, _ = converge(walled(CLOSED))
    assert result.changed == ("wall/firewall",)
    assert all(opens(host, port) for port in (22, SECOND_SSH, CLOSED))
    assert dropped(host, OPEN)
    assert "9/tcp" in host.ssh("ufw status", user="root").stdout, "a rule that is not ours stays"
    assert converge(walled(CLOSED))[0].changed == ()

    host.ssh(f"iptables -D ufw-user-input -p tcp --dport {CLOSED} -j ACCEPT", user="root")
    assert converge(walled(CLOSED))[0].changed == ("wall/firewall",)
    assert opens(host, CLOSED)


def test_ssh_is_not_locked_out_by_somebody_elses_rule(host, converge):
    """A foreign rule that denies SSH stops the step before anything is closed, and is named."""
    host.ssh("ufw disable; ufw --force delete allow 22/tcp; ufw deny 22/tcp", user="root")
    with pytest.raises(StepFailedError) as caught:
        converge(walled(OPEN))
    assert "would lock SSH out on port 22" in repr([caught.value.message, *caught.value.details])
    assert host.ssh("ufw status", user="root").stdout.strip() == "Status: inactive"
    host.ssh("ufw --force delete deny 22/tcp", user="root")
    assert converge(walled(OPEN))[0].changed == ("wall/firewall",)


def test_a_service_restarts_when_what_it_reads_has_changed(host, converge):
    """Also when the file was written by a run that died before the restart; and no more than once."""
    before = host.ssh("systemctl show -P ExecMainPID kinds-web").stdout
    host.ssh("printf 'hello again' > /srv/greeting", user="root")  # as a killed run leaves it: written, not restarted
    result, _ = converge(system("hello again"))
    assert result.changed == ("system/web",)
    assert host.ssh("systemctl show -P ExecMainPID kinds-web").stdout != before
    assert converge(system("hello again"))[0].changed == ()
    assert converge(system("hello for good"))[0].changed == ("system/page", "system/web"), "in one go, by its folder"
    assert converge(system("hello for good"))[0].changed == ()


@pytest.mark.parametrize(
    ("unit", "told"),
    [
        ("no-such-unit", "there is no unit no-such-unit"),
        ("kinds-masked", "systemctl unmask kinds-masked"),
        ("kinds-broken", "stopped right after its start"),
    ],
)
def test_a_unit_that_cannot_start_says_why(host, converge, unit, told):
    """Unknown, masked and crashing units: the error says which, and the unit's own last words are shown."""
    host.ssh(
        "systemctl mask kinds-masked; printf '[Service]\\nExecStart=/bin/sh -c \"echo the door is stuck; exit 3\"\\n[Install]\\nWantedBy=multi-user.target\\n' "
        "> /etc/systemd/system/kinds-broken.service",
        user="root",
    )
    with pytest.raises(StepFailedError) as caught:
        converge(stage("units", start={"service": {"name": unit}}))
    assert told in repr([caught.value.message, *caught.value.details])
    if unit == "kinds-broken":
        assert "the door is stuck" in caught.value.heard


def test_a_kernel_setting_that_is_refused_names_its_key(converge):
    """A container may not write every key."""
    with pytest.raises(StepFailedError) as caught:
        converge(
            stage(
                "kernel",
                set={"sysctl": {"name": "no", "settings": {"kernel.no_such_key": 1, "net.ipv4.ip_forward": 1}}},
            )
        )
    assert "kernel.no_such_key (it is unknown to this kernel)" in caught.value.message
    assert "ip_forward" not in caught.value.message


def test_a_command_that_does_not_do_what_it_is_for_fails(converge):
    """Its own stderr is shown."""
    with pytest.raises(StepFailedError, match="make") as caught:
        converge(stage("command", make={"command": {"argv": ["sh", "-c", "echo quietly >&2"], "creates": "/nowhere"}}))
    assert "quietly" in caught.value.heard


def test_a_release_changes_only_the_containers_it_concerns(host, converge):
    """A new page recreates the container that shows it and leaves the other one running; a stopped one comes back."""
    idle = started(host, "idle")
    result, _ = converge(deployed(2, page="two"))
    assert result.changed == ("release/acme",)
    assert (page(host), started(host, "idle")) == ("two", idle)

    host.ssh("docker stop --time 1 otobot-acme-idle-1", user="root")
    assert converge(deployed(2, page="two"))[0].changed == ("release/acme",)
    assert started(host, "idle") != idle
    assert converge(deployed(2, page="two"))[0].changed == ()


def test_a_release_that_is_not_healthy_is_taken_back(host, converge):
    """The step fails with the container's last words, and the release before serves again."""
    with pytest.raises(StepFailedError) as caught:
        converge(deployed(3, page="three", serve="/nowhere"))
    assert "did not become healthy" in repr([caught.value.message, *caught.value.details])
    assert (page(host), converge(deployed(2, page="two"))[0].changed) == ("two", ())
    assert host.ssh("ls /opt/otobot/acme/releases", user="root").stdout.split() == ["1", "2"]


def test_a_reboot_that_is_required_happens_once(host, converge):
    """The run goes on after it, and everything that should be there is there again by itself."""
    host.ssh("touch /run/reboot-required", user="root")
    again = stage("boot", reboot={"reboot": {}})
    up = stage("up", web={"wait_for": {"url": f"http://127.0.0.1:{OPEN}/greeting", "timeout_s": 120}})
    result, _ = converge(again, up)
    assert "boot/reboot" in result.changed
    assert len(set(result.boot_ids)) == 2
    assert converge(again, walled(OPEN))[0].changed == ()


def test_absent_takes_a_client_away_and_keeps_its_data(host, converge):
    """Containers, network and files go; the volume only when asked for."""
    gone = {"client": "acme", "project": "otobot-acme", "state": "absent"}
    assert converge(stage("gone", acme={"compose_release": gone}))[0].changed == ("gone/acme",)
    left = "docker ps -aq; docker volume ls -q; docker network ls -q --filter name=acme; ls /opt/otobot"
    assert host.ssh(left, user="root").stdout.split() == ["otobot-acme_kept"]
    all_gone = stage("gone", acme={"compose_release": {**gone, "remove_volumes": True}})
    assert converge(all_gone)[0].changed == ("gone/acme",)
    assert host.ssh(left, user="root").stdout.split() == []
    assert converge(all_gone)[0].changed == ()


def backed_up(state="present", at="*-*-* 02:00:00 UTC"):
    """A client's backup, with a program in the agent's place that only notes what it is told."""
    content = "#!/bin/sh\necho $@ >> /run/kinds-backups\n"
    files = [{"path": name, "mode": "0600", "secret": True, "content": SECRET} for name in ("job.json", "key")]
    timers = [{"word": word, "at": at, "delay_s": 600} for word in ("run", "verify", "drill")]
    given = {"files": files, "timers": timers, "targets": ["nas"]} if state == "present" else {}
    return stage(
        "backup",
        program={"file": {"path": "/usr/local/sbin/otobot-backup", "mode": "0755", "content": content}},
        acme={"backup": {"client": "acme", "state": state, **given}},
    )


def test_backups_are_timed_a_new_release_is_archived_and_nothing_is_left_of_them(host, converge):
    """Files are root's alone, timers are on; once there is an archive, a release that came up starts a run, once."""
    result, heard = converge(backed_up())
    assert result.changed == names(backed_up())
    assert SECRET not in heard
    assert converge(backed_up())[0].changed == ()
    folder = "/etc/otobot/backup/acme"
    listing = host.ssh(f"stat -c '%a %n' {folder} {folder}/*", user="root").stdout.split("\n")
    assert listing == [f"700 {folder}", f"600 {folder}/job.json", f"600 {folder}/key", ""]
    timers = [f"otobot-backup-acme{end}.timer" for end in ("", "-verify", "-drill")]
    assert host.ssh(f"systemctl is-enabled {' '.join(timers)}", user="root").stdout.split() == ["enabled"] * 3
    moved = converge(backed_up(at="*-*-* 05:00:00 UTC"))[0]
    assert moved.changed == ("backup/acme",)
    assert (
        "05:"
        in host.ssh("systemctl show --property=NextElapseUSecRealtime otobot-backup-acme.timer", user="root").stdout
    )

    host.ssh("mkdir -p /opt/otobot/acme/releases/3 && ln -s releases/3 /opt/otobot/acme/current", user="root")
    assert converge(backed_up(at="*-*-* 05:00:00 UTC"))[0].changed == ()
    state = '{"targets": {"nas": {"archive": {"id": "one"}}}}'
    host.ssh(f"echo '{state}' > /var/lib/otobot/backup/acme/state.json", user="root")
    assert converge(backed_up(at="*-*-* 05:00:00 UTC"))[0].changed == ("backup/acme",)
    assert converge(backed_up(at="*-*-* 05:00:00 UTC"))[0].changed == ()
    said = until(lambda: host.ssh("cat /run/kinds-backups || true", user="root").stdout, "the run", pause_s=0.5)
    assert said.split() == ["acme", "run"]

    assert converge(backed_up("absent"))[0].changed == ("backup/acme",)
    assert converge(backed_up("absent"))[0].changed == ()
    left = "ls -d /etc/otobot/backup/acme /var/lib/otobot/backup/acme /etc/systemd/system/*acme* /etc/systemd/system/*/*acme*"
    assert host.ssh(f"{left} 2>/dev/null || true", user="root").stdout == ""
