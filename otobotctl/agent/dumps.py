"""What each kind of source is read with: programs and their arguments, no shell, and no password among them."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from otobotctl.agent import compose
from otobotctl.agent.shell import ask

ADMIN = "otobot_admin"
MONGO_PASSWORD = "MONGO_INITDB_ROOT_PASSWORD"  # noqa: S105 the variable's name
_TAR_CHANGED = 1
_COUNT = "SELECT coalesce(json_object_agg(schemaname || '.' || relname, n_live_tup), '{}') FROM pg_stat_user_tables"


class Dump(NamedTuple):
    """One member and the program whose stdout it is.

    `stdin` is what the program is told, a secret among it; `secret` what must not be said of its stderr. Exit statuses
    in `tolerated` leave a whole member that is not of one moment. `rows` asks for the rows of each table. `database`
    and `service` are those of a dump of PostgreSQL, which can be told to read an exported snapshot.
    """

    name: str
    program: str
    argv: Sequence[str]
    stdin: bytes = b""
    secret: str = ""
    tolerated: Tuple[int, ...] = ()
    rows: Optional[Callable[[], Optional[Dict[str, int]]]] = None
    database: str = ""
    service: str = ""


class DumpError(Exception):
    """A member cannot be had; the text is for the operator and holds no secret."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__("{}: {}".format(member, message))


class Project(NamedTuple):
    """A client's Compose project on this host."""

    name: str
    directory: str

    def inside(self, service: str, *argv: str) -> List[str]:
        """The command line that runs `argv` in a service's container."""
        return compose.argv(self.name, self.directory, "exec", "-T", service, *argv)


def psql(database: str, *words: str) -> List[str]:
    """Psql as the administrator, within an engine's container: bare lines, up to the first error."""
    how = ("--no-password", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
    return ["psql", "--username=" + ADMIN, *how, "--dbname=" + database, *words]


def dumps(sources: Sequence[Dict[str, Any]], project: Project, packed: bool = True) -> Iterator[Dump]:
    """The members of these sources; each service's roles come before its first database. Raises DumpError.

    Not `packed`, dumps are as they are: whoever stores them finds what has not changed since the last one.
    """
    told = set()
    for source in sources:
        kind, name, service = source["kind"], source["name"], source["service"]
        if kind == "postgres":
            if service not in told:
                told.add(service)
                yield _roles(project, service)
            yield _postgres(project, service, name, packed)
        elif kind == "mongo":
            yield _mongo(project, service, name, packed)
        elif kind == "volume":
            yield _volume(project, name, source.get("exclude") or ())
        else:
            raise DumpError(name, "this host does not know how to dump a {}".format(kind))


def _roles(project: Project, service: str) -> Dump:
    words = ("pg_dumpall", "--username=" + ADMIN, "--no-password", "--roles-only", "--no-role-passwords")
    return Dump("databases/roles.sql", words[0], project.inside(service, *words))


def _postgres(project: Project, service: str, name: str, packed: bool) -> Dump:
    # The lightest compression: the client's own machine does it, beside its work.
    level = "--compress={:d}".format(packed)
    words = ("pg_dump", "--username=" + ADMIN, "--no-password", "--format=custom", level, "--dbname=" + name)
    argv, member = project.inside(service, *words), "databases/{}.dump".format(name)
    return Dump(member, words[0], argv, b"", "", (), lambda: _rows(project, service, name), name, service)


def _rows(project: Project, service: str, name: str) -> Optional[Dict[str, int]]:
    answer = ask(project.inside(service, *psql(name, "--command=" + _COUNT)))
    try:
        found: Dict[str, int] = json.loads(answer.stdout)
    except ValueError:
        return None
    return found


def _mongo(project: Project, service: str, name: str, packed: bool) -> Dump:
    member = "databases/{}.archive{}".format(name, ".gz" if packed else "")
    password = _environment(project, service, member).get(MONGO_PASSWORD) or ""
    # The password comes in a configuration file that is the program's own stdin: on no command line and no disk.
    words = (
        "mongodump",
        "--config=/dev/stdin",
        "--username=" + ADMIN,
        "--authenticationDatabase=admin",
        "--db=" + name,
    )
    argv = project.inside(service, *words, "--archive", *(["--gzip"] if packed else []))
    return Dump(member, words[0], argv, "password: {}\n".format(json.dumps(password)).encode(), password)


def _environment(project: Project, service: str, member: str) -> Dict[str, str]:
    answer = ask(compose.argv(project.name, project.directory, "config", "--format", "json"))
    if answer.status:
        raise DumpError(member, "docker compose does not read the release ({})".format(answer.status))
    return compose.variables(json.loads(answer.stdout), service)


def _volume(project: Project, name: str, exclude: Sequence[str]) -> Dump:
    member = "volumes/{}.tar".format(name)
    full = "{}_{}".format(project.name, name)
    answer = ask(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", "--", full])
    if answer.status:
        raise DumpError(member, answer.stderr.strip() or "there is no volume {}".format(full))
    # Anchored: of what is left out only this path is, and not others of its name further down.
    without = ["--anchored", "--no-wildcards", *("--exclude=./" + path for path in exclude)] if exclude else []
    place = "--directory=" + answer.stdout.strip()
    argv = ["tar", "--create", "--file=-", "--numeric-owner", "--sparse", *without, place, "."]
    return Dump(member, argv[0], argv, tolerated=(_TAR_CHANGED,))
