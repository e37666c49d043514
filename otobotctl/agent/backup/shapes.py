"""What the backup's files on a host and in a repository hold. All of it is JSON.

An archive is several snapshots of restic with one tag `archive=ID`: one for each part (a dump, a volume, the rendered
configuration) and, last, one with the file `archive.json` alone. Without that last one it is no archive: whoever died
on the way leaves parts that nothing lists and that the next prune takes away.
"""

from __future__ import annotations

__all__ = [
    "ARCHIVE_FILE",
    "HOME",
    "JOB_VERSION",
    "LOG_S",
    "NAMESPACE",
    "STATE",
    "Archive",
    "Job",
    "Part",
    "Target",
    "unit",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, TypedDict

    from otobotctl.agent.protocol import Source
else:
    TypedDict = dict  # see protocol

HOME = "/etc/otobot/backup"  # HOME/CLIENT/: job.json, key (the repository's password), one .env a target; root's alone
STATE = "/var/lib/otobot/backup"  # STATE/CLIENT/: state.json, reports/; no secret in it
JOB_VERSION = 1  # a host reads no job of another
ARCHIVE_FILE = "/archive.json"
LOG_S = 60.0  # how old what was committed may be before it is in a repository, with point-in-time recovery
NAMESPACE = "otobot-drill"  # of OpenSSH's signatures under the reports of drills


def unit(client: str, word: str = "run") -> str:
    """The name of systemd's unit that starts `otobot-backup CLIENT WORD`, without its ending."""
    return "otobot-backup-" + client + ("" if word == "run" else "-" + word)


class Target(TypedDict):
    """One repository. `repository` is restic's own notation; `environment` holds its credentials, secrets among them.

    `options` go to restic's -o and hold no secret. Of an `append_only` one the host can delete nothing: somebody who
    has taken the host over cannot either, and it is pruned from elsewhere.
    """

    name: str
    repository: str
    environment: Dict[str, str]
    options: List[str]
    append_only: bool


class Job(TypedDict):
    """HOME/CLIENT/job.json: what to archive of a client, where to, and what to tell whom.

    `engines` are the services that hold databases. `keep` has daily, weekly, monthly and yearly. `rpo_s` and `rto_s`
    are what was promised: the age of the newest archive, and how long a restore takes. `webhook` and `mail` may be "".
    With `pitr` any moment of the last `pitr_days` can be restored.
    """

    version: int
    client: str
    project: str
    sources: List[Source]
    engines: List[str]
    targets: List[Target]
    keep: Dict[str, int]
    rpo_s: int
    rto_s: int
    drill_days: int
    webhook: str
    mail: str
    pitr: bool
    pitr_days: int


class Part(TypedDict):
    """One snapshot of an archive. `name` is its file in restic, such as "/databases/otobot_n8n.dump".

    `rows` are the exact rows of each table ("schema.table") at the moment of the dump, None where it is no database of
    PostgreSQL; `note` is what a reader should know, such as that it changed while it was read.
    """

    name: str
    snapshot: str
    bytes: int
    note: str
    rows: Optional[Dict[str, int]]


class Archive(TypedDict):
    """`archive.json`. `id` is like 20261121T020003Z-9f31 and sorts by time; `made` is when it began, in Unix seconds.

    `consistent`: nothing wrote while the parts were read, so that they are of one moment. `reason` is schedule, manual,
    deploy, rotation or safety (what is there before a restore). `images` are the release's, by service.
    """

    version: int
    id: str
    client: str
    host: str
    made: float
    took_s: float
    reason: str
    release: int
    images: Dict[str, Any]
    consistent: bool
    parts: List[Part]
