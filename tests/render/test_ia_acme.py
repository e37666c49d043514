"""IA Interne's proxy gets its certificates from a real ACME server: two Caddys on the loopback of a network of their own."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.lab import authority
from tests.render.sample import front, text
from tests.render.test_caddy import caddy  # noqa: F401 - a fixture
from tests.render.test_ia import beside
from tests.waiting import until

NAMES = ("ia.example", "acme.example", "chat.acme.example")
LOOK = """
import socket, ssl, sys, time
root, *names = sys.argv[1:]
end = time.monotonic() + 120
for name in names:
    while True:
        try:
            context = ssl.create_default_context(cafile=root)
            with socket.create_connection(("127.0.0.1", 443), 10) as raw, context.wrap_socket(raw, server_hostname=name) as tls:
                issuer = dict(pair for part in tls.getpeercert()["issuer"] for pair in part)
                print(name, issuer["commonName"], flush=True)
                break
        except OSError as error:
            if time.monotonic() > end:
                raise SystemExit(f"{name}: {error}")
            time.sleep(0.2)
"""


@pytest.fixture
def apart(tmp_path):
    """Runs programs in a network and a mount namespace of their own, where ports 80 and 443 are free and names are local."""
    if os.geteuid() or not shutil.which("unshare"):
        if os.environ.get("CI"):
            pytest.fail("needs root and unshare", pytrace=False)
        pytest.skip("needs root and unshare")
    hosts = tmp_path / "hosts"
    hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *NAMES)))
    script = f"ip link set lo up && mount --bind {hosts} /etc/hosts && touch {tmp_path}/apart && exec sleep 900"
    with ExitStack() as stack:

        def start(*argv, **more):
            env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "state")}
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, **more)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        holder = start("unshare", "--net", "--mount", "sh", "-c", script)
        until((tmp_path / "apart").exists)
        yield lambda *argv, **more: start("nsenter", "--net", "--mount", "--target", str(holder.pid), *argv, **more)


def test_every_name_of_the_proxy_is_certified_by_the_authority_over_http(apart, caddy, tmp_path):  # noqa: F811
    """IA Interne's own and those of a client beside it: who trusts that authority alone gets in, by each name."""
    home = tmp_path / "authority"
    home.mkdir()
    given = {"home": home, "name": authority.NAME, "address": "127.0.0.1", "port": authority.PORT, "lifetime": "12h"}
    (home / "Caddyfile").write_text(authority._CONFIGURATION.format(**given))
    root = home / "data/pki/authorities/lab/root.crt"
    with (tmp_path / "log").open("w") as log:
        apart(caddy, "run", "--config", str(home / "Caddyfile"), "--adapter", "caddyfile", stdout=log, stderr=log)
        until(lambda: root.exists() and root.read_text())
        own = {"acme_directory": f"https://127.0.0.1:{authority.PORT}/acme/lab/directory", "acme_ca": root.read_text()}
        release = front(beside(gpu={"settings": {"ia-proxy": own}}), "gpu-1")
        for file in release.files:
            if file.path.startswith("ia-proxy/"):
                path = tmp_path / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = file.content.decode().replace("/etc/caddy/ca/acme.pem", "/etc/caddy/ca.pem")
                path.write_text(
                    lines.replace("/etc/caddy", str(tmp_path / "ia-proxy")).replace("/var/log/ia", str(tmp_path))
                )
        config = str(tmp_path / "ia-proxy/Caddyfile")
        apart(caddy, "run", "--config", config, "--adapter", "caddyfile", stdout=log, stderr=log)
        looked = apart(sys.executable, "-c", LOOK, str(root), *NAMES, stdout=subprocess.PIPE, text=True)
        said, _ = looked.communicate(timeout=400)
    issuers = dict(line.split(" ", 1) for line in said.splitlines())
    assert {name: issuer.startswith(authority.NAME) for name, issuer in issuers.items()} == dict.fromkeys(NAMES, True)
    assert text(release, "ia-proxy/Caddyfile").count(own["acme_directory"]) == 1
