"""What `incident` does on a live host, seen from two places outside it. `test_doctor.py` has the host, and runs these."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.e2e.breaking import as_root
from tests.e2e.deployed import DOMAIN, eventually, visit
from tests.e2e.told import HELD_OFF, ISOLATED, NOT_IN_FORCE, TAKEN_BACK, unheard
from tests.lab.shell import run, until

if TYPE_CHECKING:
    from tests.e2e.ward import Ward

_TRIAL = "/var/lib/otobot/trials/shield"
_KNOCK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def answers(where):
    try:
        socket.create_connection(tuple(where), 4).close()
    except OSError:
        return False
    return True

wanted = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(wanted)) as pool:
    print(json.dumps([where for where, yes in zip(wanted, pool.map(answers, wanted)) if yes]))
"""


def stranger_sees(ward: Ward) -> set[tuple[str, int]]:
    """What answers somebody at the lab's gateway, who is not the operator: (address, port)."""
    namespace = f"/run/netns/{ward.host.slot.namespace}"
    asked = json.dumps(sorted(everything(ward)))
    done = run("nsenter", f"--net={namespace}", "python3", "-c", _KNOCK, asked)
    return {(address, port) for address, port in json.loads(done.stdout)}


def everything(ward: Ward) -> set[tuple[str, int]]:
    """What answers everybody on a host that is well."""
    return {(address, port) for address in (ward.host.address, ward.host.address6) for port in (22, 80, 443)}


def strangers_addresses(ward: Ward) -> tuple[str, str]:
    """Where he is, over IPv4 and IPv6."""
    return ward.host.slot.gateway, str(ipaddress.ip_address(f"{ward.host.slot.prefix6}:1"))


def healthy_inside(ward: Ward) -> bool:
    """Whether the client's containers are well by their own word, and the proxy answers on the host itself."""
    asked = f"curl --fail --silent --insecure --resolve {DOMAIN}:443:127.0.0.1 https://{DOMAIN}/health"
    return '"status"' in as_root(ward.host, asked)


def data(ward: Ward, *words: str) -> Any:
    return ward.operator.data("incident", *words)


def an_address_that_is_held_off_gets_nothing_and_others_are_served(ward: Ward) -> None:
    """IPv4 and IPv6, SSH and Docker's published ports, an open connection too; again is no change; never the own."""
    four, six = strangers_addresses(ward)
    assert stranger_sees(ward) == everything(ward)
    namespace = f"/run/netns/{ward.host.slot.namespace}"
    talk = (
        "import socket, sys, time; line = socket.create_connection((sys.argv[1], 80)); print('in', flush=True); "
        "sys.stdin.readline(); line.settimeout(8); line.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); "
        "print(len(line.recv(10)), flush=True)"
    )
    talking = subprocess.Popen(
        ["nsenter", f"--net={namespace}", "python3", "-c", talk, ward.host.address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert talking.stdout.readline() == "in\n"
    done = data(ward, "block-ip", four, six, "--host", "vps-1", "--for", "24h")
    assert done["details"]["addresses"] == [four, six]
    assert stranger_sees(ward) == set()
    said, _ = talking.communicate("go\n", timeout=60)
    assert said in {"", "0\n"}  # what was open before gets no answer any more; at most the host closes it
    assert visit(ward.host, "/health")[0] == 200
    again = data(ward, "block-ip", four, "--host", "vps-1", "--for", "forever", "--incident", done["incident"])
    assert again["incident"] == done["incident"]
    assert stranger_sees(ward) == set()
    ward.hears(*HELD_OFF)
    as_root(ward.host, "systemctl stop otobot-shield.timer", "iptables -t raw -F OTOBOT-IN")  # it would mend it first
    ward.hears(*NOT_IN_FORCE)
    ward.operator.run("doctor", "--fix", "--yes")
    as_root(ward.host, "systemctl start otobot-shield.timer")
    assert stranger_sees(ward) == set()

    before = len(ward.operator.data("incident", "list"))
    mine = ward.host.ssh("echo ${SSH_CONNECTION%% *}").stdout.strip()
    for own in (mine, f"{mine}/16", ward.host.address, "0.0.0.0/0", "::/0"):
        refused = ward.operator.run("incident", "block-ip", own, "--host", "vps-1", check=False)
        assert refused.returncode == 2, (own, refused.stderr)
        assert "your own way" in refused.stderr
    assert len(ward.operator.data("incident", "list")) == before


def who_is_held_off_for_a_time_comes_in_again_after_it(ward: Ward) -> None:
    """The host itself sees to it, without otobotctl; who is held off for good is not."""
    four, six = strangers_addresses(ward)
    over = int(time.time()) - 1
    as_root(ward.host, f"sed -i 's/^{six} .*/{six} {over}/' /etc/otobot/shield/blocked")
    v6 = {(ward.host.address6, port) for port in (22, 80, 443)}
    eventually(lambda: stranger_sees(ward) == v6, 120)
    released = data(ward, "release", "vps-1", four, "--yes")
    assert released["details"]["addresses"] == [four]
    assert stranger_sees(ward) == everything(ward)


def an_isolated_host_answers_the_operators_ssh_and_nobody_else(ward: Ward) -> None:
    """Over both families, both ways, across a reboot; its services go on inside. A release undoes all of it."""
    refused = ward.operator.run("incident", "isolate", "vps-1", check=False)
    assert refused.returncode == 2  # nobody is there to type the host's name
    with listener(ward) as goes_out:
        assert goes_out()
        done = data(ward, "isolate", "vps-1", "--yes")
        assert not goes_out()
    assert done["details"]["answering"] == []
    assert stranger_sees(ward) == set()
    assert not reached(ward, 443)
    assert healthy_inside(ward)
    ward.host.reboot()
    assert stranger_sees(ward) == set()
    assert not reached(ward, 443)
    eventually(lambda: healthy_inside(ward), 180)
    assert unheard(ward.operator.doctor(code=4), *ISOLATED) == []
    opened = data(ward, "release", "vps-1", "--yes", "--incident", done["incident"])
    assert opened["details"]["answering"] == [80, 443]
    assert stranger_sees(ward) == everything(ward)
    ward.recovers()


def an_isolation_that_no_login_proves_is_taken_back(ward: Ward) -> None:
    """The operator dies before he has come in again: the host opens by itself, and the report knows of the act."""
    # On a quick machine his new login may come before he is killed: then it was proved, and he tries again.
    for _ in range(5):
        process = ward.operator.start("incident", "isolate", "vps-1", "--yes", "--trial", "15", "--json")
        try:
            until(lambda: there(ward, _TRIAL), "the isolation is on trial", 120, 0.02)
        finally:
            process.kill()
            process.wait()
        eventually(lambda: there(ward, f"{_TRIAL}/restored") or not there(ward, _TRIAL), 120)
        if there(ward, f"{_TRIAL}/restored"):
            break
        data(ward, "release", "vps-1", "--yes")
    eventually(lambda: stranger_sees(ward) == everything(ward), 120)
    report = ward.operator.data("incident", "report")
    assert report["interrupted"] == ["isolate vps-1"]
    assert unheard(ward.operator.doctor(code=4), *TAKEN_BACK) == []
    data(ward, "release", "vps-1", "--yes", "--incident", report["id"])
    assert ward.operator.data("host", "plan", "vps-1")["steps"] == []


def a_connection_is_ended_and_what_remains_is_told(ward: Ward) -> None:
    """In the vault; its provider has no way to be told, so a person must go there. A second call is no second end."""
    run_ = ward.operator.run
    run_("vault", "user", "add", "acme", "lea@acme.example", "--name", "Léa")
    added = run_("vault", "connection", "add", "acme", "lea@acme.example", "openai", "--json", stdin="sk-not-a-key\n")
    connection = json.loads(added.stdout)["data"]["id"]
    done = data(ward, "revoke-connection", "acme", connection, "--yes")
    assert done["details"]["user"] == "lea@acme.example"
    assert done["details"]["provider"] == "no_revocation"
    assert any("tell lea@acme.example" in text for text in done["remaining"])
    assert any("revoke the access at openai itself" in text for text in done["remaining"])
    assert ward.operator.data("vault", "tokens", "acme")["tokens"] == []
    again = data(ward, "revoke-connection", "acme", connection, "--yes", "--incident", done["incident"])
    assert again["details"]["provider"] == "no_revocation"
    unknown = run_(
        "incident", "revoke-connection", "acme", "7f3c1f1e-0000-4000-8000-000000000000", "--yes", check=False
    )
    assert unknown.returncode == 2


def the_records_tell_it_all_and_hold_no_secret(ward: Ward) -> None:
    """Every incident's chain is whole; the notice's 72 hours count; no value of the client's is in any file."""
    rows = ward.operator.data("incident", "list")
    assert len(rows) >= 4
    secrets = list(ward.operator.secrets("acme").values())
    for row in rows:
        told = ward.operator.data("incident", "report", row["id"])
        assert told["broken"] == 0
        assert 71 < told["notice"]["hours_left"] <= 72
        text = (ward.operator.fleet / "incidents" / f"{row['id']}.jsonl").read_text()
        assert not [value for value in (*secrets, "sk-not-a-key") if value in text]


def reached(ward: Ward, port: int) -> bool:
    """Whether the operator's machine gets TLS."""
    context = ssl._create_unverified_context()
    try:
        with (
            socket.create_connection((ward.host.address, port), 4) as raw,
            context.wrap_socket(raw, server_hostname=DOMAIN),
        ):
            return True
    except OSError:
        return False


def there(ward: Ward, path: str) -> bool:
    """Whether the host has this file; no login is made."""
    return ward.host.inside("test", "-e", path, check=False).returncode == 0


@contextmanager
def listener(ward: Ward) -> Iterator[Callable[[], bool]]:
    """Something at the lab's gateway that the host can reach; gives what tells whether it does."""
    namespace = f"/run/netns/{ward.host.slot.namespace}"
    listens = "import socket, time; server = socket.create_server(('', 8099)); time.sleep(900)"
    server = subprocess.Popen(["nsenter", f"--net={namespace}", "python3", "-c", listens])
    knock = f"timeout 5 bash -c ': > /dev/tcp/{ward.host.slot.gateway}/8099'"
    try:
        eventually(lambda: ward.host.ssh(knock, check=False).returncode == 0, 60)
        yield lambda: ward.host.ssh(knock, check=False).returncode == 0
    finally:
        server.kill()
        server.wait()
