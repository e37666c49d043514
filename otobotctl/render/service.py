"""The shape of `service.yaml`: what a service is, as data that rendering, backups and the doctor share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from otobotctl.manifest.gpu import PURPOSE
from otobotctl.manifest.models import Backup
from otobotctl.manifest.shape import SettingType
from otobotctl.secrets import Course, SecretKind

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,62}$")]
SqlName = Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")]
SecretName = Annotated[str, Meta(pattern="^[A-Z][A-Z0-9_]{0,62}$")]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Data read from YAML: nothing unknown, nothing changed afterwards."""


class Setting(_Model, frozen=True, kw_only=True):
    """A word that the manifest may say about the service.

    The whole value, as text, matches `pattern`; `choices`, when there are any, are all that it may be, and all that may
    be in a list. With `choices_from` they are the names of the JSON files in that folder of the service, which then are
    no files of a release. `shared` settings are the host's: clients of one host may not disagree about them.
    """

    type: SettingType = "text"
    default: str | int | float | bool | tuple[str, ...]
    description: str
    choices: tuple[str, ...] = ()
    choices_from: str = ""
    pattern: str = ""
    shared: bool = False


class Proof(_Model, frozen=True, kw_only=True):
    """A program in a service's container that tells whether the value on its stdin is accepted: 0 yes, 1 no.

    Of an engine's `login`, the words `{role}` and `{database}` are replaced in each argument.
    """

    service: Name = ""
    argv: tuple[str, ...]


class Rotation(_Model, frozen=True, kw_only=True):
    """How a secret is exchanged while services run; see SecretSpec for `how`, `hold_s` and `because`.

    The passwords of databases' roles are proved by their engine's `login`, others by `proof`, where there is one.
    `logs_in` is the role and the database of an engine that knows the secret as a role's password of its own.
    """

    how: Course
    hold_s: Count | None = None
    because: str = ""
    proof: Proof | None = None
    logs_in: tuple[SqlName, SqlName] | None = None


class SecretNeed(_Model, frozen=True, kw_only=True):
    """A secret that the service owns. `rotate_days`: how old it may get; absent, it never has to change."""

    kind: SecretKind
    description: str
    rotate_days: Count | None = None
    rotation: Rotation = Rotation(how="")


class Port(_Model, frozen=True, kw_only=True):
    """A port of the container. With `base` it can be published on 127.0.0.1, at the base plus the client's offset.

    It is, unless the service has a setting `published` that says otherwise.
    """

    container: PortNumber
    base: PortNumber | None = None


class Volume(_Model, frozen=True, kw_only=True):
    """A named volume of the project, mounted at `path`."""

    name: SqlName
    path: str
    read_only: bool = False


class Role(_Model, frozen=True, kw_only=True):
    """A database role that logs in with `secret`."""

    name: SqlName
    secret: SecretName


class Database(_Model, frozen=True, kw_only=True):
    """A database that `owner` owns. `roles` may connect, and get no more than what the owner grants them."""

    name: SqlName
    engine: str = "postgres"
    owner: Role
    roles: tuple[Role, ...] = ()
    extensions: tuple[SqlName, ...] = ()


class Route(_Model, frozen=True, kw_only=True):
    """What the proxy sends to the service: a path below the client's domain, or below `subdomain` of it.

    `rate` is how many requests one address may send, such as 30r/m, with `burst` more at once; without it the proxy's
    own limit holds. `max_body` is the largest request, such as 50m. A `denied` path is answered 404, in any case of
    its letters and whatever follows it.
    """

    path: Annotated[str, Meta(pattern="^/[A-Za-z0-9._/-]*$")]
    port: PortNumber
    subdomain: Annotated[str, Meta(pattern="^([a-z0-9-]+)?$")] = ""
    exact: bool = False
    websocket: bool = False
    read_timeout_s: Count = 60
    rate: Annotated[str, Meta(pattern="^([1-9][0-9]{0,4}r/[sm])?$")] = ""
    burst: Count = 20
    max_body: Annotated[str, Meta(pattern="^([1-9][0-9]{0,5}[km])?$")] = ""
    denied: bool = False


class Below(_Model, frozen=True, kw_only=True):
    """How a service whose routes have a subdomain lives below a path of the client's domain, such as /n8n.

    With `strip` its container knows nothing of the path. `since` is the first version that can live so. Without a
    path it cannot, and `refused` says why.
    """

    path: Annotated[str, Meta(pattern="^(/[a-z0-9-]+)?$")] = ""
    strip: bool = True
    since: Annotated[str, Meta(pattern=r"^(\d+(\.\d+)*)?$")] = ""
    refused: str = ""


class Health(_Model, frozen=True, kw_only=True):
    """How Docker tells that a container works.

    Until it is healthy for the first time it is asked every `start_interval_s`: a deploy waits for that. More than a
    second where the question starts a whole interpreter, or all of them at once keep a booting host from its work.
    """

    test: tuple[str, ...]
    interval_s: Count = 10
    timeout_s: Count = 5
    retries: Count = 6
    start_period_s: Count = 30
    start_interval_s: Count = 1


class BackupSource(_Model, frozen=True, kw_only=True):
    """What an archive must hold: a dump of `database`, or the files of `volume` but for the paths in `exclude`."""

    kind: Literal["postgres", "mongo", "volume"]
    database: SqlName | None = None
    volume: SqlName | None = None
    exclude: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")], ...] = ()


class Provision(_Model, frozen=True, kw_only=True):
    """What a healthy service still needs before anybody can use it, such as accounts.

    The template `items` gives a JSON list of what is wanted, each with a `name`, a `kind` and an `id` beside whatever
    `program` needs to know, secrets too. `program check LIST` runs in the container and is told names, kinds, ids and
    digests alone; it prints {"items": {name: "ready" | "absent" | "stale" | "kept"}}. `program apply` gets everything
    on stdin. kept: somebody changed the item there and what is newer here is withheld, or whatever `kept` says of it;
    `remedy` says what to do.
    """

    program: tuple[str, ...]
    items: str = "provision.json.j2"
    kept: str = "was changed there and stays so"
    remedy: str = ""


class Limits(_Model, frozen=True, kw_only=True):
    """The most that a container may take. Memory is a setting, because it grows with the client.

    There is no limit in CPUs: Docker refuses to start a container whose limit is above what a small host has.
    """

    pids: Count = 256


class Smoke(_Model, frozen=True, kw_only=True):
    """A program run inside the container of a release that has just come up: its failure takes the release back.

    It runs once, on a host that may have just booted and is starting everything: it has a minute.
    """

    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    timeout_s: Annotated[int, Meta(ge=1, le=600)] = 60


class ServiceTemplate(_Model, frozen=True, kw_only=True):
    """A service. `image` is a name without a tag (the tag is the setting `version`), or `build` names what is built.

    `uses` are other services' secrets that this one needs too; `ia` is the purpose of the key of IA Interne that a
    deploy gives it, where the client has one; `requires` are services that must be there as well;
    `depends` are containers to wait for. An `engine` serves every database of that engine that a service of the same
    client wants, and its `login` proves the password of a role. `packages` are folders of it that a release holds as
    one tar each. `scope: host` services exist once a host, for all of its clients; `offered: false` ones are not for
    the manifest to name; only `public` ones may listen on every address. Two containers of a `stateless` one may answer
    side by side, so a deploy changes it without a pause; its requests get `drain_s` to end. `smoke` is tried after
    every deploy, `restored` once its data has come back from an archive. `guide` is a template of what only a person
    can do.
    """

    name: Name = ""
    description: str
    scope: Literal["client", "host"] = "client"
    offered: bool = True
    public: bool = False
    image: str = ""
    build: str = ""
    settings: Mapping[str, Setting] = {}
    secrets: Mapping[SecretName, SecretNeed] = {}
    uses: tuple[SecretName, ...] = ()
    ia: Annotated[str, Meta(pattern=f"^({PURPOSE})?$")] = ""
    ports: Mapping[str, Port] = {}
    volumes: tuple[Volume, ...] = ()
    networks: tuple[str, ...] = ()
    engine: str = ""
    login: Proof | None = None
    databases: tuple[Database, ...] = ()
    routes: tuple[Route, ...] = ()
    below: Below = Below()
    health: Health | None = None
    requires: tuple[Name, ...] = ()
    depends: Mapping[str, Condition] = {}
    backup: tuple[BackupSource, ...] = ()
    limits: Limits = Limits()
    packages: tuple[str, ...] = ()
    stateless: bool = False
    drain_s: Annotated[int, Meta(ge=1, le=600)] = 20
    smoke: tuple[Smoke, ...] = ()
    provision: Provision | None = None
    guide: str = ""
    restored: tuple[Smoke, ...] = ()


class EnvironmentData(_Model, frozen=True, kw_only=True):
    """What one environment says about its services' settings and about archives; the manifest's words win over it."""

    settings: Mapping[str, Mapping[str, str | int | float | bool | tuple[str, ...]]] = {}
    backup: Backup | None = None


class Stack(_Model, frozen=True, kw_only=True):
    """What a host can run: services that clients choose from, and those that serve the whole host."""

    name: str = ""
    description: str
    services: tuple[str, ...]
    host_services: tuple[str, ...] = ()
    environments: Mapping[str, EnvironmentData] = {}
