"""Ways to break a deployed client for real, each a block: broken inside, put right again after it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.e2e.breaking import COMPOSE, CURRENT, as_root, query
from tests.e2e.deployed import DOMAIN
from tests.e2e.told import OLD_REDIS, OLD_TOOLJET
from tests.e2e.ward import NAMES

if TYPE_CHECKING:
    from tests.e2e.ward import Ward

Break = Callable[["Ward"], AbstractContextManager[None]]
TLS = f"/etc/otobot/tls/{DOMAIN}"
NGINX, REDIS = "otobot-front-nginx-1", "otobot-acme-redis-1"
VAULT, MIGRATE = "otobot-acme-vault-api-1", "otobot-acme-vault-migrate-1"
_NOTE = "/var/lib/otobot/archives/acme.json"
_PLACED = [{"id": "1", "name": "Appel", "position": [0, 0], "typeVersion": 1}]
_TOKEN = "abcdefghijklmnop1234"


@contextmanager
def all_of(ward: Ward, breaks: Sequence[Break]) -> Iterator[None]:
    """Everything broken at once; put right in the other order, however the block ends."""
    with ExitStack() as stack:
        for each in breaks:
            stack.enter_context(each(ward))
        yield


@contextmanager
def shell(ward: Ward, breaks: Sequence[str], mends: Sequence[str]) -> Iterator[None]:
    """Lines of root's shell, and those that put it right; half broken is put right too."""
    try:
        as_root(ward.host, *breaks)
        yield
    finally:
        # What could not be put right is told when the host does not recover.
        ward.host.ssh("\n".join(mends), user="root", check=False, timeout_s=300)


def lines(*breaks: str, mends: Sequence[str]) -> Break:
    """A break in the words of the shell."""
    return lambda ward: shell(ward, breaks, mends)


# ------------------------------------------------------------------- the machine
wants_a_reboot = lines("touch /run/reboot-required", mends=["rm /run/reboot-required"])
full_disk = lines(
    "mount -t tmpfs -o size=64k,mode=755 small /boot",
    "cat /dev/zero > /boot/ballast 2>/dev/null || true",
    mends=["umount /boot"],
)
# 100 pages of which 90 are taken, and as many files as it can have.
few_inodes = lines(
    "mount -t tmpfs -o size=400k,nr_inodes=40,mode=755 small /boot",
    "head -c 368640 /dev/zero > /boot/ballast",
    "for n in $(seq 60); do touch /boot/$n 2>/dev/null || break; done",
    mends=["umount /boot"],
)
# What is said of memory in a container is the machine's below; nobody fills that for a test. So the host is shown
# its own /proc/meminfo with 5 % left in it.
little_memory = lines(
    "awk '/^MemTotal:/ { total = $2 } /^MemAvailable:/ { $2 = int(total / 20) } { print }' /proc/meminfo > /run/meminfo",
    "mount --bind /run/meminfo /proc/meminfo",
    mends=["umount /proc/meminfo", "rm /run/meminfo"],
)
# The clock of a container is the machine's, and this host knows that it is one: here it does not.
nothing_keeps_the_clock = lines(
    r"printf '#!/bin/sh\nexit 1\n' > /usr/local/bin/systemd-detect-virt",
    r"printf '#!/bin/sh\necho NTPSynchronized=no\n' > /usr/local/bin/timedatectl",
    "chmod 755 /usr/local/bin/systemd-detect-virt /usr/local/bin/timedatectl",
    mends=["rm /usr/local/bin/systemd-detect-virt /usr/local/bin/timedatectl"],
)
# A listener of the host's own behind a door that somebody opened.
open_door = lines(
    "ufw allow 9998/tcp",
    "systemd-run --quiet --unit=stray python3 -m http.server 9998",
    mends=["systemctl stop stray", "ufw delete allow 9998/tcp"],
)
no_program_of_docker = lines(
    "mv /usr/bin/docker /usr/bin/docker.away", mends=["mv /usr/bin/docker.away /usr/bin/docker"]
)
no_current_release = lines(f"mv {CURRENT} {CURRENT}.away", mends=[f"mv -T {CURRENT}.away {CURRENT}"])


# -------------------------------------------------------------- ports, certificates
def publishing(ward: Ward) -> AbstractContextManager[None]:
    """A container published beyond loopback, as `docker run -p` by hand does."""
    run = f"docker run --detach --name stray --publish 9999:6379 --entrypoint sleep {redis_image(ward)} 3600"
    return shell(ward, [run], ["docker rm --force stray"])


# Nothing hands a port on any more, though the container is well.
no_way_to_the_vault = lines("pkill --full 'host-port [3]001' || true", mends=[f"docker restart {VAULT}"])
no_way_to_the_proxy = lines("pkill --full 'host-port [4]43' || true", mends=[f"docker restart {NGINX}"])
port_taken = lines(
    f"docker stop {VAULT}",
    "systemd-run --quiet --unit=thief python3 -m http.server --bind 127.0.0.1 3001",
    "until ss -Hltn 'sport = 3001' | grep -q 3001; do sleep 0.2; done",
    f"! docker start {VAULT}",
    mends=["systemctl stop thief"],  # an apply starts it
)
no_tls_for_visitors = lines(
    "iptables -t nat -I PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 22",
    "ip6tables -t raw -I PREROUTING -p tcp --dport 80 -j DROP",
    mends=[
        "iptables -t nat -D PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 22",
        "ip6tables -t raw -D PREROUTING -p tcp --dport 80 -j DROP",
    ],
)


def certificate(before: int, after: int) -> Break:
    """The site's certificate, one that began and ends so many days from now; nginx takes it within 15 s."""
    now = datetime.now(UTC)
    start, end = ((now + timedelta(days=days)).strftime("%Y%m%d%H%M%SZ") for days in (before, after))
    return lines(
        f"mkdir -p /root/tls && cp -p {TLS}/fullchain.pem {TLS}/privkey.pem /root/tls/",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=old/CN=old "
        f"-not_before {start} -not_after {end} -keyout {TLS}/privkey.pem -out {TLS}/fullchain.pem",
        mends=[f"mv /root/tls/* {TLS}/"],
    )


# -------------------------------------------------------------------- containers
def redis_image(ward: Ward) -> str:
    """What redis of the client runs."""
    return as_root(ward.host, "docker inspect --format '{{.Config.Image}}' otobot-acme-redis-1").strip()


def unwanted(ward: Ward) -> AbstractContextManager[None]:
    """A container of the client's project that no release knows."""
    labels = " ".join(
        f"--label com.docker.compose.{key}={value}" for key, value in (("project", "otobot-acme"), ("service", "extra"))
    )
    run = f"docker run --detach --name otobot-acme-extra-1 {labels} --entrypoint sleep {redis_image(ward)} 3600"
    return shell(ward, [run], ["docker rm --force otobot-acme-extra-1"])


# PID 1 of the proxy dies three times; started by hand, Docker counts from 0 again.
starts_again_and_again = lines(
    f'state() {{ docker inspect -f "{{{{$1}}}}" {NGINX}; }}',
    "until [ $(state .RestartCount) -ge 3 ] && [ $(state .State.Running) = true ]; do",
    "kill -9 $(state .State.Pid) || true; sleep 0.7; done",
    mends=[f"docker restart {NGINX}"],
)
# Something in the proxy's container wants more than it may have: the kernel kills that, and Docker writes it down.
killed_for_memory = lines(
    f"! docker exec {NGINX} tail /dev/zero",
    f"until docker inspect -f '{{{{.State.OOMKilled}}}}' {NGINX} | grep -q true; do sleep 0.2; done",
    mends=[f"docker restart {NGINX}"],
)


@contextmanager
def killed_and_started_again(ward: Ward) -> Iterator[None]:
    """Redis itself takes more than it may: the kernel kills it, Docker starts it again and says nothing of it.

    A container host has no log of its kernel, so what the machine's kernel really said is carried into the host, where
    `journalctl --dmesg` tells it as on a server.
    """
    fill = "local s = string.rep('x', 4000000) for i = 1, 99 do redis.call('SET', 'k' .. i, s) end"
    identity = as_root(ward.host, f"docker inspect --format '{{{{.Id}}}}' {REDIS}").strip()
    said = ""
    try:
        as_root(
            ward.host,
            f"docker update --memory 40m --memory-swap 40m {REDIS}",
            f"docker exec {REDIS} redis-cli CONFIG SET maxmemory 0",
            f'docker exec {REDIS} redis-cli CONFIG SET save "" appendonly no',
            f'! docker exec {REDIS} redis-cli --no-raw EVAL "{fill}" 0 | grep -v "^$"',
            f"until docker inspect -f '{{{{.RestartCount}}}} {{{{.State.Running}}}}' {REDIS} | grep -q '1 true'; do sleep 0.2; done",
            f"docker update --memory 256m --memory-swap 512m {REDIS}",
        )
        told = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout.splitlines()
        said = next(row for row in reversed(told) if "oom-kill:" in row and identity in row)
        said = f"{time.time():.6f} vps-1 kernel: {said.partition('] ')[2]}"
        as_root(
            ward.host,
            f"echo '{said}' > /run/kernel-said",
            r"printf '#!/bin/sh\n[ \"$1\" = --dmesg ] && exec cat /run/kernel-said\nexec /usr/bin/journalctl \"$@\"\n' > /usr/local/bin/journalctl",
            "chmod 755 /usr/local/bin/journalctl",
        )
        yield
    finally:
        ward.host.ssh("rm /usr/local/bin/journalctl /run/kernel-said", user="root", check=False)


# A migration that gets less memory than it needs.
ended_for_memory = lines(
    f"docker update --memory 20m --memory-swap 20m {MIGRATE}",
    f"! docker start --attach {MIGRATE}",
    mends=[f"docker update --memory 256m --memory-swap 512m {MIGRATE}", f"docker start --attach {MIGRATE}"],
)
# Its health check takes 30 s to see that, so nothing waits for it here.
another_password_of_redis = lines(
    "docker exec otobot-acme-redis-1 redis-cli CONFIG SET requirepass another",
    mends=["docker restart otobot-acme-redis-1"],
)


def retagged(service: str, image: str, tag: str) -> Break:
    """A release of which a service runs its image under another tag, as if it were that version."""
    return lines(
        f"cp -p {CURRENT}/compose.yaml /root/compose-{service}.yaml",
        f"docker tag $(sed -n 's#.*image: \\({image}:.*\\)#\\1#p' {CURRENT}/compose.yaml | head -1) {image}:{tag}",
        f"sed -i 's#image: {image}:.*#image: {image}:{tag}#' {CURRENT}/compose.yaml",
        f"{COMPOSE} up --detach --no-deps {service}",
        mends=[
            f"mv /root/compose-{service}.yaml {CURRENT}/compose.yaml",
            f"{COMPOSE} up --detach --no-deps {service}",
            f"docker rmi {image}:{tag}",
        ],
    )


known_bad = retagged("redis", "redis", OLD_REDIS)
behind = retagged("tooljet", "tooljet/tooljet-ce", OLD_TOOLJET)
bad_environment = lines(
    f"cp -p {CURRENT}/env/tooljet.env {CURRENT}/env/redis.env /root/",
    f"sed -i 's/^SECRET_KEY_BASE=.*/SECRET_KEY_BASE=short/; s/^LOCKBOX_MASTER_KEY=.*/LOCKBOX_MASTER_KEY=/' {CURRENT}/env/tooljet.env",
    f"sed -i '/^TZ=/d' {CURRENT}/env/redis.env",
    f"{COMPOSE} up --detach --no-deps redis tooljet",
    mends=[
        f"mv /root/tooljet.env /root/redis.env {CURRENT}/env/",
        f"{COMPOSE} up --detach --no-deps redis tooljet",
    ],
)


# -------------------------------------------------------------------- databases
@contextmanager
def sql(ward: Ward, breaks: str, mends: str, database: str = "otobot_frontend") -> Iterator[None]:
    """Statements of the superuser's, and those that undo them."""
    try:
        query(ward.host, breaks, database)
        yield
    finally:
        query(ward.host, mends, database)


def statements(breaks: str, mends: str, database: str = "otobot_frontend") -> Break:
    """A break in SQL."""
    return lambda ward: sql(ward, breaks, mends, database)


newer_and_broken = statements(
    "SET search_path = vault; INSERT INTO schema_migrations (version, name, checksum) VALUES (9001, 'later', 'x');"
    "INSERT INTO users (client_id, id, email) SELECT id, gen_random_uuid(), 'bob@acme.example' FROM clients;"
    "INSERT INTO client_connections (client_id, id, user_id, service_code, encrypted_api_key, status)"
    " SELECT client_id, gen_random_uuid(), id, 'openai', 'x', 'broken' FROM users;"
    "INSERT INTO client_connections (client_id, id, user_id, service_code, encrypted_access_token, status,"
    " token_expires_at) SELECT client_id, gen_random_uuid(), id, 'notion', 'x', 'active', now() - interval '1 hour'"
    " FROM users;",
    "SET search_path = vault; DELETE FROM schema_migrations WHERE version = 9001; DELETE FROM client_connections;"
    "DELETE FROM users;",
)
altered_schema = statements(
    "SET search_path = vault; CREATE TABLE kept AS SELECT * FROM schema_migrations WHERE version IN (1, 3);"
    "DELETE FROM schema_migrations WHERE version = 3;"
    "UPDATE schema_migrations SET checksum = 'x' WHERE version = 1",
    "SET search_path = vault; DELETE FROM schema_migrations WHERE version = 1;"
    "INSERT INTO schema_migrations SELECT * FROM kept; DROP TABLE kept",
)
no_schema = statements(
    "ALTER TABLE vault.schema_migrations RENAME TO schema_migrations_away",
    "ALTER TABLE vault.schema_migrations_away RENAME TO schema_migrations",
)


def _flow(name: str, nodes: list[dict] | None = None, settings: dict | None = None, pinned: dict | None = None) -> str:
    placed = [{**_PLACED[0], "type": "n8n-nodes-base.noOp", "parameters": {}, **each} for each in nodes or []]
    told = (json.dumps(each) for each in (placed, settings or {}, pinned or {}))
    return f"""('{name}', '{name}', false, '{{}}', {", ".join(f"$t${each}$t$" for each in told)}, gen_random_uuid()::text)"""


_ASKS = {"type": "n8n-nodes-otobot.otobotCredentialFetcher"}
_TAKES = {**_ASKS, "parameters": {"operation": "getUserCredentials"}}
_TYPED = {"type": "n8n-nodes-base.httpRequest", "parameters": {"header": f"Bearer {_TOKEN}"}}
workflows_that_keep_tokens = statements(
    'INSERT INTO workflow_entity (id, name, active, connections, nodes, settings, "pinData", "versionId") VALUES '
    + ", ".join(
        (
            _flow("doctor1", [_ASKS], {"saveManualExecutions": True}),
            _flow("doctor2", [], {"saveDataErrorExecution": "all"}),
            _flow("doctor3", [], pinned={"Start": [{"json": {"accessToken": _TOKEN}}]}),
            _flow("doctor4", [_TYPED]),
            _flow("doctor5", [_TAKES]),
            _flow("doctor6", [_TAKES], {"saveDataSuccessExecution": "all"}),
        )
    ),
    "DELETE FROM workflow_entity WHERE id LIKE 'doctor_'",
    "otobot_n8n",
)
old_release = lines(
    "touch --date '2 days ago' /opt/otobot/acme/releases/*", mends=["touch /opt/otobot/acme/releases/*"]
)
old_archive = lines(
    f"cp -p {_NOTE} /root/note.json",
    f"""python3 -c 'import json, sys; note = json.load(open(sys.argv[1])); note["made"] -= 2 * 86400 + 3600; json.dump(note, open(sys.argv[1], "w"))' {_NOTE}""",
    mends=[f"mv /root/note.json {_NOTE}"],
)


# ---------------------------------------------------------------------- the fleet
def secret_made(name: str, days: int) -> Break:
    """The fleet says of a secret that it is so many days old."""

    @contextmanager
    def aged(ward: Ward) -> Iterator[None]:
        metadata = ward.operator.fleet / "clients/acme/secrets.yaml"
        kept = metadata.read_text()
        when = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata.write_text(dated(kept, name, when))
        try:
            yield
        finally:
            metadata.write_text(kept)

    return aged


def dated(metadata: str, name: str, when: str) -> str:
    """The metadata with a secret that was made then."""
    rows = metadata.splitlines(keepends=True)
    at = next(number for number, row in enumerate(rows) if name in row)
    made = next(number for number in range(at, len(rows)) if "created:" in rows[number])
    indent = rows[made][: rows[made].index("created:")]
    rows[made] = f'{indent}created: "{when}"\n'
    return "".join(rows)


@contextmanager
def another_version_wanted(ward: Ward) -> Iterator[None]:
    """The manifest asks for a version that nobody has deployed."""
    manifest = ward.operator.fleet / "clients-config.json"
    kept = manifest.read_text()
    changed = json.loads(kept)
    changed["clients"]["acme"].setdefault("settings", {})["redis"] = {"version": OLD_REDIS}
    manifest.write_text(json.dumps(changed))
    try:
        yield
    finally:
        manifest.write_text(kept)


@contextmanager
def silent_name_server(ward: Ward) -> Iterator[None]:
    """A name that no file knows, and a name server that does not answer."""
    ward.point(names=NAMES[1:])
    ward.operator.asks_silence = True
    try:
        yield
    finally:
        ward.operator.asks_silence = False
        ward.point()


@contextmanager
def late_clock(ward: Ward, seconds: int) -> Iterator[None]:
    """The operator's clock is ahead."""
    ward.operator.clock_s = seconds
    try:
        yield
    finally:
        ward.operator.clock_s = 0
