"""What a host is told of a client's backups: its secrets' policy, its job, and when that runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl.agent.backup.shapes import HOME, JOB_VERSION, Job, Target
from otobotctl.agent.protocol import Source
from otobotctl.manifest import backups as words
from otobotctl.render import layout
from otobotctl.render.release import RenderedFile, RenderedRelease
from otobotctl.secrets import SecretSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otobotctl.manifest.models import BackupTarget
    from otobotctl.manifest.resolved import ResolvedClient
    from otobotctl.render.service import ServiceTemplate
    from otobotctl.secrets import Secret

KEY, SSH_KEY = "BACKUP_KEY", "BACKUP_SSH_KEY"
DRILLS = "drills"  # the tag of a host that others' archives are drilled on
OWNER = "backup"  # what metadata names as the service of these secrets
# Minutes are not round on purpose: what everybody starts on the hour is slow then. Times are UTC.
SCHEDULES: Mapping[str, str] = {
    "hourly": "*-*-* *:00:00 UTC",
    "4-hourly": "*-*-* 02/4:00:00 UTC",
    "daily": "*-*-* 02:00:00 UTC",
    "weekly": "Sun *-*-* 02:00:00 UTC",
    "monthly": "*-*-01 02:00:00 UTC",
}
_VERIFY = "Wed *-*-* 04:20:00 UTC"
_DRILLS = ((28, "*-*-03 04:40:00 UTC"), (7, "Sat *-*-* 04:40:00 UTC"), (1, "*-*-* 04:40:00 UTC"))
_ERASURES = "*-*-* *:00/15:00 UTC"
# The log is shipped by a unit that runs on; this starts it after a boot. Where no base is due, looking costs nothing.
_WAL, _BASE = "*-*-* *:*:00 UTC", "*-*-* *:02/5:00 UTC"
_DELAY_S, _LONG_DELAY_S, _SHORT_DELAY_S = 600, 3600, 60
VAULT = "vault-api"
_BECAUSE = (
    "only secrets rotate gives every repository a new one before the former goes, which whoever copied a repository "
    "can still open his copy with"
)
_PROVING = ("VAULT_CLIENT", "VAULT_DATABASE_", "VAULT_RUNTIME_USER", "ENCRYPTION_MASTER_KEY", "TZ")
_MADE_UP = ("AUDIT_HMAC_KEY", "VAULT_RUNTIME_PASSWORD")


@dataclass(frozen=True, slots=True)
class Timed:
    """A timer of systemd: `word` is what `otobot-backup CLIENT` is told, `at` when (systemd.time), give or take."""

    word: str
    at: str
    delay_s: int


@dataclass(frozen=True, slots=True)
class HostBackup:
    """What a host keeps of one client's backups. Without targets there are no files and no timers."""

    client: str
    files: tuple[RenderedFile, ...] = field(default=(), repr=False)
    timers: tuple[Timed, ...] = ()
    packages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def specs(client: ResolvedClient) -> tuple[SecretSpec, ...]:
    """Return the secrets that a client's backups need; none where there are no targets."""
    targets = client.backup.targets
    if not targets:
        return ()
    found = [
        SecretSpec(
            KEY, "hex32", OWNER, None, description="Opens the client's repositories. Without it archives are lost.",
            rotation="repositories", because=_BECAUSE,
        )
    ]  # fmt: skip
    if any(words.scheme(target.repository) == "sftp" for target in targets.values()):
        because = "its public half is placed at the storage by hand; otobotctl backup schedule CLIENT shows it"
        described = "The key that the host logs in to SFTP storages with."
        found.append(SecretSpec(SSH_KEY, "ed25519", OWNER, None, False, described, "refused", 0, because))
    for name, target in targets.items():
        found += [
            SecretSpec(secret, "given", OWNER, None, given=True, description=f"{what} of the backup target {name}.")
            for secret, what in _given(name, target).items()
        ]
    return tuple(found)


def credentials(name: str, target: BackupTarget) -> dict[str, str]:
    """Return which secret each variable of restic's environment holds, for one target."""
    kind, prefix = words.scheme(target.repository), _prefix(name)
    if kind == "s3":
        return {"AWS_ACCESS_KEY_ID": f"{prefix}_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY": f"{prefix}_SECRET_KEY"}
    if kind == "rest" and _user(target.repository):
        return {"RESTIC_REST_PASSWORD": f"{prefix}_PASSWORD"}
    return {}


def sources(services: Iterable[ServiceTemplate]) -> tuple[list[Source], list[str]]:
    """What an archive of these services holds, and which of them have the databases."""
    chosen = tuple(services)
    engines = {service.engine: service.name for service in chosen if service.engine}
    found: dict[tuple[str, str], Source] = {}
    for owner, source in ((service.name, each) for service in chosen for each in service.backup):
        name = source.database or source.volume or ""
        service = "" if source.kind == "volume" else engines[source.kind]
        said = Source(kind=source.kind, name=name, service=service, of=owner, exclude=list(source.exclude))
        found.setdefault((source.kind, name), said)
    return list(found.values()), list(engines.values())


def receivers(client: ResolvedClient, engines: Iterable[str]) -> list[str]:
    """The containers that receive the log of engines: they write nothing of the client's, and are never at rest."""
    return [f"{each}-wal" for each in engines if client.backup.pitr and each == "postgres"]


def host_backup(
    client: ResolvedClient,
    services: Iterable[ServiceTemplate],
    secrets: Mapping[str, Secret],
    sealed: bytes,
    recipients: Iterable[str] = (),
) -> HostBackup:
    """Return what the client's host keeps of its backups.

    `sealed` is the fleet's secrets.age of the client, `recipients` who can open it.
    """
    if not client.backup.targets:
        return HostBackup(client.slug)
    made = job(client, services, secrets)
    content = {
        "job.json": msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n",
        "key": secrets[KEY].reveal().encode() + b"\n",
        "secrets.age": sealed,
        "secrets.sum": _sum(secrets, recipients),
    }
    packages = ["restic"]
    if SSH_KEY in secrets and (pinned := _known_hosts(client)):
        content |= {"known_hosts": pinned, "id_ed25519": secrets[SSH_KEY].reveal().encode()}
        packages.append("openssh-client")
    files = (RenderedFile(name, data, 0o600, secret=True) for name, data in sorted(content.items()))
    return HostBackup(client.slug, tuple(files), timers(client), tuple(packages), tuple(client.backup.targets))


def job(client: ResolvedClient, services: Iterable[ServiceTemplate], secrets: Mapping[str, Secret]) -> Job:
    """Return the client's job: HOME/CLIENT/job.json. Credentials are in its targets' environments alone."""
    wanted, engines = sources(services)
    engines += receivers(client, engines)
    said = client.backup
    return Job(
        version=JOB_VERSION,
        client=client.slug,
        project=layout.project(client.slug),
        sources=wanted,
        engines=engines,
        targets=[_target(client.slug, name, target, secrets) for name, target in said.targets.items()],
        keep=said.keep,
        rpo_s=said.rpo_h * 3600,
        rto_s=said.rto_min * 60,
        drill_days=said.drill_days,
        webhook=said.webhook,
        mail=said.mail,
        pitr=said.pitr,
        pitr_days=said.pitr_days,
    )


def login(client: ResolvedClient, secrets: Mapping[str, Secret]) -> dict[str, str]:
    """The files below HOME/CLIENT that the options of SFTP targets name: key pair and pinned host keys."""
    return {"id_ed25519": secrets[SSH_KEY].reveal(), "known_hosts": _known_hosts(client).decode()}


def proving_variables(release: RenderedRelease) -> dict[str, str]:
    """What the vault needs to open values that it stored: its master keys, and no other secret that is of any use.

    Its database in a drill lets in whoever comes, and nothing is written to the audit; but it starts with those alone.
    """
    import secrets as randomness

    path = f"env/{VAULT}.env"
    text = next((file.content.decode() for file in release.files if file.path == path), "")
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.startswith(_PROVING):
            found[name] = value[1:-1] if value[:1] == "'" else value
    return found | {name: randomness.token_hex(32) for name in _MADE_UP} if found else {}


def timers(client: ResolvedClient) -> tuple[Timed, ...]:
    """When the host runs, verifies and drills; nothing is made by itself where the schedule is never."""
    drill = next((at for least, at in _DRILLS if client.backup.drill_days >= least), _DRILLS[-1][1])
    own = SCHEDULES.get(client.backup.schedule)
    run = (Timed("run", own, _DELAY_S),) if own else ()
    # A vault forgets people, and an archive brings them back: the list of who was erased outlives the host.
    erasures = (Timed("erasures", _ERASURES, _SHORT_DELAY_S),) if own and VAULT in client.services else ()
    log = (Timed("wal", _WAL, 0), Timed("base", _BASE, 0)) if client.backup.pitr else ()
    return (*run, Timed("verify", _VERIFY, _LONG_DELAY_S), Timed("drill", drill, _LONG_DELAY_S), *erasures, *log)


def packages(tags: Iterable[str], kept: Iterable[HostBackup]) -> list[str]:
    """What backups want installed on a host: those of its clients, and drills of others where it is tagged for them."""
    found = {package for each in kept for package in each.packages}
    return sorted(found | ({"restic", "openssh-client"} if DRILLS in tags else set()))


def _target(client: str, name: str, target: BackupTarget, secrets: Mapping[str, Secret]) -> Target:
    environment = {variable: secrets[named].reveal() for variable, named in credentials(name, target).items()}
    repository = target.repository
    if user := _user(repository):
        # Older ones than restic 0.16 know no variables for this: restic.py puts both where those look.
        repository = repository.replace(f"{user}@", "", 1)
        environment["RESTIC_REST_USERNAME"] = user
    options = [f"s3.region={target.region}"] if target.region else []
    if words.scheme(repository) == "sftp":
        options.append(f"sftp.command={_sftp_command(client, name, repository)}")
    return Target(
        name=name,
        repository=repository,
        environment=environment,
        options=options,
        append_only=target.append_only,
    )


def _sftp_command(client: str, name: str, repository: str) -> str:
    """How restic reaches the storage: by the client's own key, and by no host key but the pinned one."""
    user, host, port, _ = words.sftp_parts(repository)
    folder = f"{HOME}/{client}"
    settings = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityFile": f"{folder}/id_ed25519",
        "UserKnownHostsFile": f"{folder}/known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": name,
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "30",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "8",
    }
    options = " ".join(f"-o {key}={value}" for key, value in settings.items())
    return f"ssh -F none {options} -p {port} -l {user} -s -- {host} sftp"


def _sum(secrets: Mapping[str, Secret], recipients: Iterable[str]) -> bytes:
    """Digits that are the same for the same values and recipients; nobody without the key can test guesses by them."""
    import hashlib
    import hmac

    values = {name: value for name, secret in secrets.items() if (value := secret.reveal())}
    message = msgspec.json.encode([sorted(values.items()), sorted(recipients)])
    return hmac.new(secrets[KEY].reveal().encode(), message, hashlib.sha256).hexdigest().encode() + b"\n"


def _known_hosts(client: ResolvedClient) -> bytes:
    """The pinned host keys, each under its target's name."""
    lines = [f"{name} {target.host_key.strip()}\n" for name, target in client.backup.targets.items() if target.host_key]
    return "".join(lines).encode()


def _given(name: str, target: BackupTarget) -> dict[str, str]:
    titles = {"ACCESS_KEY": "The access key", "SECRET_KEY": "The secret key", "PASSWORD": "The password"}
    prefix = _prefix(name)
    return {secret: titles[secret.removeprefix(f"{prefix}_")] for secret in credentials(name, target).values()}


def _prefix(name: str) -> str:
    return f"BACKUP_{name.upper().replace('-', '_')}"


def _user(repository: str) -> str:
    """Who logs in to a REST server, "" for nobody."""
    return words.rest_user(repository) if words.scheme(repository) == "rest" else ""


def variables(backup: HostBackup) -> dict[str, Any]:
    """A host's backup as a playbook sees it: the parameters of the kind `backup`."""
    from base64 import b64encode

    if not backup.files:
        return {"client": backup.client, "state": "absent"}
    return {
        "client": backup.client,
        "targets": list(backup.targets),
        "files": [
            {"path": each.path, "mode": "0600", "secret": True, "content_base64": b64encode(each.content).decode()}
            for each in backup.files
        ],
        "timers": [{"word": each.word, "at": each.at, "delay_s": each.delay_s} for each in backup.timers],
    }
