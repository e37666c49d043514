"""What a host says of itself: the machine, its containers, its certificates."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from otobotctl.agent import compose, containers, machine, served
from otobotctl.agent.kinds import host_status
from otobotctl.agent.releases import ROOT
from otobotctl.agent.run import Run, StepError

PS = """\
otobot-acme\tpostgres\tFalse\trunning\tUp 2 hours (healthy)
otobot-acme\tn8n\tFalse\trunning\tUp 3 seconds (health: starting)
otobot-acme\tdatabases\tFalse\texited\tExited (0) 2 hours ago
otobot-acme\tvault-api\tFalse\trestarting\tRestarting (137) 1 second ago
otobot-acme\tn8n\tTrue\texited\tExited (2) 2 hours ago
otobot-front\tnginx\tFalse\texited\tExited (137) 4 minutes ago
otobot-front\tcertbot\tFalse\trunning\tUp 2 hours
"""


def test_containers_of_every_project_in_one_answer():
    """States read as `docker compose ps` would tell them; somebody's `run` is left out."""
    found = {project: compose.service_states(each) for project, each in containers.parse(PS).items()}
    assert found == {
        "otobot-acme": {"postgres": "healthy", "n8n": "starting", "databases": "ended", "vault-api": "restarting"},
        "otobot-front": {"nginx": "exited (137)", "certbot": "running"},
    }


def test_memory_is_in_bytes():
    """/proc/meminfo counts in kB, and some of its lines count nothing."""
    found = machine.meminfo("MemTotal:       16000 kB\nMemAvailable:   4000 kB\nHugePages_Total:   3\n")
    assert found == {"MemTotal": 16000 * 1024, "MemAvailable": 4000 * 1024, "HugePages_Total": 3}


def test_each_disk_once(tmp_path):
    """Places on one file system are one disk; a place that is not there is none."""
    found = machine.disks((str(tmp_path), str(tmp_path.parent), str(tmp_path / "none")))
    assert [disk["path"] for disk in found] == [str(tmp_path)]
    assert found[0]["size"] >= found[0]["used"] >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="the agent runs on Linux only")
def test_the_whole_answer(monkeypatch, tmp_path):
    """Releases of clients that are not deployed are told as such; nothing that fails costs the rest."""
    monkeypatch.setattr("otobotctl.agent.releases.ROOT", str(tmp_path))
    monkeypatch.setattr(containers, "_ARGV", ("no-such-program",))
    monkeypatch.setattr(host_status, "_HERE", ("127.0.0.1", 1))
    found = host_status.probe({"projects": {"acme": "otobot-acme"}, "names": ["acme.example"]})
    assert found["memory"]["total"] > found["memory"]["available"] > 0
    assert found["disks"]
    assert found["uptime_s"] > 0
    assert found["docker_error"] is None
    assert found["releases"]["acme"]["current"] is None
    assert found["certificates"]["acme.example"]["error"]
    assert ROOT == "/opt/otobot"


def test_docker_that_does_not_answer_is_told_and_not_taken_for_absent_containers(monkeypatch):
    """A daemon that is down must not read as a client without containers."""
    monkeypatch.setattr(containers, "_ARGV", ("sh", "-c", "echo no daemon >&2; exit 1"))
    found = host_status.probe({"projects": {"acme": "otobot-acme"}, "names": []})
    assert "no daemon" in found["docker_error"]
    assert found["releases"]["acme"]["trouble"] == {}


def test_there_is_nothing_to_apply():
    """It is a question, never a step."""
    with pytest.raises(StepError):
        host_status.apply({}, Run(print))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A certificate that signs itself, and one that it signed, which ends far beyond two digits of a year."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def openssl(*words):
        subprocess.run(("openssl", *words), cwd=folder, check=True, capture_output=True, timeout=60)

    openssl("req", "-x509", *new, "-days", "90", "-subj", "/CN=own.example", "-keyout", "own.key", "-out", "own.pem")
    openssl("req", *new, "-subj", "/CN=signed.example", "-keyout", "signed.key", "-out", "signed.csr")
    openssl(
        "x509", "-req", "-in", "signed.csr", "-CA", "own.pem", "-CAkey", "own.key", "-set_serial", "7",
        "-days", "20000", "-out", "signed.pem",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(("name", "signs_itself"), [("own", True), ("signed", False)])
def test_the_end_of_a_certificate(keys, name, signs_itself):
    """As OpenSSL itself reads it, before and after the year 2050."""
    found = served.dates(ssl.PEM_cert_to_DER_cert((keys / f"{name}.pem").read_text()))
    told = ssl._ssl._test_decode_cert(str(keys / f"{name}.pem"))
    assert found == {
        "not_before": int(ssl.cert_time_to_seconds(told["notBefore"])),
        "not_after": int(ssl.cert_time_to_seconds(told["notAfter"])),
        "issuer": "own.example",
        "self_signed": signs_itself,
    }


@pytest.mark.parametrize(
    ("subject", "called"),
    [("/O=Let's Encrypt/CN=R11", "Let's Encrypt"), ("/CN=Société\x1b[31m", "Société?[31m"), ("/C=FR", "")],
)
def test_who_issued_is_the_organisation_or_else_the_name(tmp_path, subject, called):
    """As an operator knows it; nothing of it moves a terminal's cursor."""
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8")
    made = subprocess.run(
        (*words, "-subj", subject, "-keyout", "/dev/null"), cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    assert served.dates(ssl.PEM_cert_to_DER_cert(made.stdout.decode()))["issuer"] == called


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x03\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff", b"nonsense"])
def test_no_certificate_is_no_crash(der):
    """What is cut short or something else is an error that certificate() tells."""
    with pytest.raises((IndexError, ValueError)):
        served.dates(der)


def test_the_certificate_that_a_visitor_gets(keys):
    """Asked of a real TLS server by the name; a closed port is an error in words."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "own.pem", keys / "own.key")
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            raw, _ = server.accept()
            with raw, contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
                tls.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        found = served.certificate("own.example", server.getsockname())
        thread.join()
        address = server.getsockname()
    assert found["self_signed"] is True
    assert names == ["own.example"]
    assert "refused" in served.certificate("own.example", address)["error"].lower()
