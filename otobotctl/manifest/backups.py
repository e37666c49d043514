"""What the manifest may say of backups: repositories that exist once, and nothing secret among them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otobotctl.agent.backup.shapes import LOG_S
from otobotctl.manifest import words
from otobotctl.manifest.document import Object, objects
from otobotctl.manifest.findings import Finding, Path, show
from otobotctl.manifest.resolve import PERIODS_H

CLIENT = "{client}"
GRACE = 1.25  # an archive takes its time, and timers are spread: a quarter more than was promised is no alarm
VERIFY_DAYS = 31  # by then something of each target's data has been read again
NAME = r"[a-z][a-z0-9-]{0,19}"
_BUCKET = re.compile(r"[A-Za-z0-9._{}/-]+")
_WORD = re.compile(r"[a-z0-9-]{1,40}")
_SFTP = re.compile(r"sftp:(?!//)(?P<user>[^@/:]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@/:]+):(?P<path>/.*)")
_FORMS = "/srv/{client}, sftp:backup@nas.example:/srv/{client}, s3:https://s3.example/bucket/{client} or rest:https://nas.example/{client}"


def log_overdue(log: Mapping[str, Any] | None) -> list[str]:
    """What is late with the log of a target."""
    if log is None:
        return []
    why = f": {log['error']}" if log["error"] else ""
    if log["lag_s"] is None:
        return [f"nothing of PostgreSQL's log is there yet{why}"]
    if log["lag_s"] > LOG_S:
        return [f"what was committed in the last {log['lag_s']:.0f} s is not there, promised is a minute{why}"]
    return [] if log["base"] else [f"there is no base yet for PostgreSQL's log{why}"]


def drill_took_s(drill: Mapping[str, Any]) -> float:
    """How long a restore takes, as a drill measured it: of the archive, or to the newest moment of the log."""
    return max(drill.get("took_s") or 0.0, (drill.get("log") or {}).get("took_s") or 0.0)


def check(document: Object) -> Iterator[Finding]:
    """Yield what is wrong with the backups of clients, environments and the defaults."""
    taken: dict[str, Path] = {}
    for path, layer, shared in _layers(document):
        if isinstance(backup := layer.get("backup"), dict):
            here: Path = (*path, "backup")
            yield from _promises(backup, here)
            for name, target in objects(backup, "targets").items():
                yield from _target(target, (*here, "targets", name), taken, shared=shared)


def scheme(repository: str) -> str:
    """The kind of storage: local, sftp, s3 or rest; "" for none that is known here."""
    if repository.startswith("/"):
        return "local"
    kind = repository.partition(":")[0]
    return kind if kind in {"sftp", "s3", "rest"} else ""


def sftp_parts(repository: str) -> tuple[str, str, int, str]:
    """User, host, port and path of an SFTP repository that was checked."""
    if found := _SFTP.fullmatch(repository):
        return found["user"], found["host"].strip("[]"), 22, found["path"]
    parts = _split(repository)
    return parts.username or "", parts.hostname or "", parts.port or 22, re.sub("^/+", "/", parts.path)


def rest_user(repository: str) -> str:
    """Who logs in to a REST server that was checked, "" for nobody."""
    parts = _split(repository.removeprefix("rest:"))
    return parts.username or ""


def _layers(document: Object) -> Iterator[tuple[Path, Mapping[str, Any], bool]]:
    """Each place that may say something of backups, and whether it speaks for many clients."""
    if isinstance(defaults := document.get("defaults"), dict):
        yield ("defaults",), defaults, True
    for name, environment in objects(document, "environments").items():
        yield ("environments", name), environment, True
    for slug, client in objects(document, "clients").items():
        yield ("clients", slug), client, False


def _promises(backup: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    schedule, rpo_h = backup.get("schedule"), backup.get("rpo_h")
    every = PERIODS_H.get(schedule, 0) if isinstance(schedule, str) else 0
    if type(rpo_h) is int and every > rpo_h:
        problem = f"archives that are made {schedule} are up to {every} h old, not {rpo_h} h"
        yield Finding((*path, "rpo_h"), problem, f'write {every} or more, or a "schedule" that is more frequent')
    if isinstance(mail := backup.get("mail"), str) and mail and (wrong := words.email(mail)):
        yield Finding((*path, "mail"), *wrong)
    if isinstance(webhook := backup.get("webhook"), str) and webhook and (wrong := _url(webhook)):
        yield Finding((*path, "webhook"), *wrong)
    if backup.get("pitr") and schedule == "never":
        problem = "is never: a restore to a moment needs archives for all that is not in PostgreSQL"
        yield Finding((*path, "schedule"), problem, 'write "daily", or take "pitr" out')


def _target(target: Mapping[str, Any], path: Path, taken: dict[str, Path], *, shared: bool) -> Iterator[Finding]:
    if not re.fullmatch(NAME, str(path[-1])):
        yield Finding(path, f'"{path[-1]}" is not a target\'s name', "use a-z, 0-9 and -, 20 characters at most")
    if not isinstance(repository := target.get("repository"), str):
        return
    here: Path = (*path, "repository")
    if wrong := _repository(repository):
        yield Finding(here, *wrong)
        return
    if shared and CLIENT not in repository:
        yield Finding(here, "would be the one repository of many clients", f"put {CLIENT} in it, such as {_FORMS}")
    yield from _twice(repository, path, here, taken, shared=shared)
    yield from _keys(target, path, scheme(repository))


def _twice(repository: str, path: Path, here: Path, taken: dict[str, Path], *, shared: bool) -> Iterator[Finding]:
    """One repository is one client's, and one target's of it."""
    plain = repository.rstrip("/") if shared else repository.rstrip("/").replace(CLIENT, str(path[1]))
    first = taken.setdefault(plain, path)
    if first != path and not (shared and first[:2] != path[:2]):
        yield Finding(here, f"is {show(first)}'s already", "give each a repository of its own")


def _keys(target: Mapping[str, Any], path: Path, kind: str) -> Iterator[Finding]:
    host_key, region = target.get("host_key", ""), target.get("region", "")
    if kind == "sftp" and not host_key:
        remedy = "write the storage's line of: ssh-keyscan -t ed25519 HOST, from the key's kind on, after comparing it"
        yield Finding((*path, "host_key"), "is missing: who answers at that address must be certain", remedy)
    elif isinstance(host_key, str) and host_key and (wrong := words.login_key(host_key)):
        yield Finding((*path, "host_key"), *wrong)
    for name, said, wanted in (("host_key", host_key, "sftp"), ("region", region, "s3")):
        if said and kind != wanted:
            yield Finding((*path, name), f"is for {wanted}: repositories", "leave it out")
    if kind == "s3" and isinstance(region, str) and region and not _WORD.fullmatch(region):
        yield Finding((*path, "region"), f'"{region}" is not a region', "write it like gra or eu-west-3")


def _repository(value: str) -> words.Wrong:
    """Check where a repository is. What could be a password is never repeated."""
    kind = scheme(value)
    if not value.isprintable() or not value.isascii() or set(value) & set(" '\"\\$`%"):
        return "holds a space, a quote or another character that has no place there", f"write it like {_FORMS}"
    if re.search(r"://[^/@]*:[^/@]*@", value) or re.match(r"\w+:[^/@]*:[^/@]*@", value):
        remedy = "take it out, replace it there, and give the new one by: otobotctl secrets set CLIENT NAME"
        return "holds a password", remedy
    if "{" in value.replace(CLIENT, "") or "}" in value.replace(CLIENT, ""):
        return f'"{value}" has a placeholder that nobody fills in', f"the only one is {CLIENT}"
    wrong = {"local": _local, "sftp": _sftp, "s3": _s3, "rest": _rest}[kind](value) if kind else "is not known here"
    return (f'"{value}" {wrong}', f"write it like {_FORMS}") if wrong else None


def _local(value: str) -> str:
    return "" if value.strip("/") and ".." not in value.split("/") else "is not a directory of its own"


def _sftp(value: str) -> str:
    if value.startswith("sftp://"):
        parts = _split(value)
        whole = parts and parts.username and parts.hostname and parts.path.strip("/")
        return "" if whole else "lacks a user, a host or a path"
    found = _SFTP.fullmatch(value)
    return "" if found and found["path"].strip("/") else "lacks a user, a host or a path from the root on"


def _s3(value: str) -> str:
    rest = value.removeprefix("s3:")
    if "://" not in rest:
        host, _, bucket = rest.partition("/")
        return "" if host and _BUCKET.fullmatch(bucket) else "lacks a host or a bucket"
    parts = _split(rest)
    if not parts or parts.username or not parts.hostname or not _BUCKET.fullmatch(parts.path.strip("/")):
        return "lacks a host or a bucket"
    return "" if parts.scheme == "https" or _private(parts.hostname) else "is not https"


def _rest(value: str) -> str:
    parts = _split(value.removeprefix("rest:"))
    if not parts or parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        return "lacks https:// or a host"
    return "" if parts.scheme == "https" or _private(parts.hostname) else "is not https"


def _url(value: str) -> words.Wrong:
    parts = _split(value)
    if not parts or not parts.hostname or not value.isprintable() or parts.scheme not in {"http", "https"}:
        return "is not the address of a webhook", "write it like https://hooks.example/otobot"
    if parts.scheme == "http" and not _private(parts.hostname):
        return "is not https", "write https://, or an address of the host's own network"
    return None


def _split(value: str) -> Any:
    """The parts of a URL; None for what is none."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _private(host: str) -> bool:
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
