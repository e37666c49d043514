"""What went wrong with a target, in one sentence, and what to do about it in another."""

from __future__ import annotations

from typing import Dict

_REMEDIES = {
    "password": "the repository was made with another key: put that one back with "
    "`otobotctl secrets set {client} BACKUP_KEY`, then `otobotctl client deploy {client}`",
    "locked": "something else works on the repository; run `otobotctl backup run {client} --target {target}` later, "
    "and where nothing does, on the host: `otobot-backup {client} restic {target} unlock`",
    "absent": "it was there before: mount the disk or bring the storage back; only where it is lost for good, name "
    "another place for {target} in the manifest",
    "full": "free room on {target}, or keep less (`keep_daily` and the others in the manifest), then "
    "`otobotctl backup prune {client}`",
    "unreachable": "see that {target} answers from the host, then `otobotctl backup run {client} --target {target}`",
    "denied": "see the credentials of {target} in `otobotctl secrets list {client}`; set them with `otobotctl secrets "
    "set`, then `otobotctl client deploy {client}`",
    "damaged": "older archives may still be whole: `otobotctl backup verify {client}`; then, on the host, "
    "`otobot-backup {client} restic {target} repair` as docs/backups.md says",
    "slow": "see that {target} and the line to it are well, then `otobotctl backup run {client} --target {target}`",
    "part": "see how the service is: `otobotctl status`, then `otobotctl backup run {client}`",
    "host-locked": "a deploy holds the host; run it again when that is done",
    "ended": "the machine or its operator ended it; the next one is made in its time, or now: "
    "`otobotctl backup run {client}`",
    "run": "`otobotctl backup status {client}`, then `otobotctl backup run {client}`",
    "drill": "`otobotctl backup drill {client} --report` shows all that was found; `otobotctl backup drill {client} "
    "--target {target}` tries it again",
    "waiting": "the first archive makes the repository: `otobotctl backup run {client} --target {target}`",
    "receiver": "`otobotctl logs {client}` says why; `otobotctl deploy {client}` brings it up",
    "other": "`otobotctl backup run {client} --target {target}` tries it again",
}


def remedy(kind: str, client: str, target: str) -> str:
    """What to do next."""
    return _REMEDIES.get(kind, _REMEDIES["other"]).format(client=client, target=target)


def failure(kind: str, message: str, client: str, target: str) -> Dict[str, str]:
    """A failure as a run reports it: kind, message and remedy."""
    return {"kind": kind, "message": message, "remedy": remedy(kind, client, target)}
