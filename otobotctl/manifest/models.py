"""The manifest as it is written in `clients-config.json`. Defaults are applied by `resolve`, not here."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

VERSION = 1

EnvironmentName = Literal["dev", "stage", "prod"]
Docker = Literal["upstream", "distribution"]
Tls = Literal["acme", "self-signed"]
Names = Literal["subdomains", "paths"]
Engine = Literal["ollama", "vllm"]
Schedule = Literal["hourly", "4-hourly", "daily", "weekly", "monthly", "never"]
Role = Literal["admin", "user"]
SettingValue = str | int | float | bool | list[str]
Settings = dict[str, dict[str, SettingValue]]

ENVIRONMENTS: tuple[str, ...] = get_args(EnvironmentName)

_Count = Annotated[int | None, Meta(description="How many of these archives to keep; 0 keeps none.")]
_Positive = Annotated[int, Meta(ge=1)]
_Services = Annotated[tuple[str, ...] | None, Meta(description="Which services run, in no particular order.")]
_Names = Annotated[
    Names | None, Meta(description="Services at names such as n8n.DOMAIN, or at paths such as DOMAIN/n8n/.")
]
_Settings = Annotated[Settings, Meta(description="Per service: its version and its other settings.")]


class BackupTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A repository that archives go to. Its credentials are secrets of the client and never stand here."""

    repository: Annotated[
        str,
        Meta(
            description="As restic writes it; {client} is the client's slug.",
            examples=["sftp:backup@nas.example:/srv/{client}", "s3:https://s3.example/bucket/{client}"],
        ),
    ]
    append_only: Annotated[bool, Meta(description="The storage lets the host delete nothing.")] = False
    host_key: Annotated[str, Meta(description="The public SSH key of an SFTP storage.")] = ""
    region: Annotated[str, Meta(description="The region of an S3 storage, where it wants one.")] = ""


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When archives are made and how many are kept. What is left out comes from the environment, then the defaults."""

    schedule: Annotated[Schedule | None, Meta(description="How often an archive is made.")] = None
    keep_daily: _Count = None
    keep_weekly: _Count = None
    keep_monthly: _Count = None
    keep_yearly: _Count = None
    before_deploy: Annotated[bool | None, Meta(description="Make an archive before every deploy.")] = None
    targets: Annotated[
        dict[str, BackupTarget] | None, Meta(description="Where archives go, by name; each gets every archive.")
    ] = None
    rpo_h: Annotated[
        _Positive | None, Meta(description="How old the newest archive may get, in hours; else as often as it is made.")
    ] = None
    rto_min: Annotated[_Positive | None, Meta(description="How long a restore may take, in minutes.")] = None
    drill_days: Annotated[
        _Positive | None, Meta(description="After how many days an archive must have been restored as a drill.")
    ] = None
    webhook: Annotated[str | None, Meta(description="What an archive that failed is posted to, as JSON.")] = None
    mail: Annotated[str | None, Meta(description="Whom the host writes to of an archive that failed.")] = None
    pitr: Annotated[
        bool | None, Meta(description="PostgreSQL can be restored to any moment, less than a minute ago included.")
    ] = None
    pitr_days: Annotated[_Positive | None, Meta(description="Of how many days any moment can be restored (7).")] = None


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What differs for every client of one environment; a client's own words win over it."""

    services: _Services = None
    settings: _Settings = {}
    tls: Annotated[Tls | None, Meta(description="Where certificates come from.")] = None
    names: _Names = None
    backup: Annotated[Backup | None, Meta(description="The backup policy.")] = None
    hooks: _Hooks = None


class Hook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program to run before or after a deploy, without a shell and never with a secret among its arguments."""

    when: Annotated[Literal["before_deploy", "after_deploy"], Meta(description="When it runs.")]
    argv: Annotated[tuple[str, ...], Meta(min_length=1, description="The program and its arguments.")]
    where: Annotated[
        Literal["operator", "host"],
        Meta(description="On the operator's machine, in the fleet; or on the host, as root."),
    ] = "operator"
    timeout_s: Annotated[int, Meta(ge=1, le=3600, description="After how many seconds it is ended.")] = 300
    on_failure: Annotated[
        Literal["stop", "warn", "back"],
        Meta(description="Stop there, go on all the same, or (after a deploy) go back to the release before."),
    ] = "stop"

    def __post_init__(self) -> None:
        if self.on_failure == "back" and self.when == "before_deploy":
            raise ValueError("nothing has changed before a deploy that could be taken back: write stop or warn")


_Hooks = Annotated[tuple[Hook, ...] | None, Meta(description="Programs to run before and after a deploy.")]


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds for every client and host that does not say otherwise."""

    environment: Annotated[EnvironmentName, Meta(description="The environment of a client.")] = "prod"
    timezone: Annotated[str, Meta(description="An IANA time zone.", examples=["Europe/Paris"])] = "Europe/Paris"
    services: Annotated[tuple[str, ...], Meta(description="The services of a client.")] = (
        "postgres",
        "vault-api",
        "token-refresher",
        "nginx",
    )
    settings: _Settings = {}
    docker: Annotated[Docker, Meta(description="Docker's own packages, or the distribution's.")] = "upstream"
    tls: Annotated[Tls, Meta(description="Where certificates come from.")] = "acme"
    names: Annotated[
        Names, Meta(description="Services at names such as n8n.DOMAIN, or at paths such as DOMAIN/n8n/.")
    ] = "subdomains"
    backup: Annotated[Backup | None, Meta(description="The backup policy.")] = None
    hooks: _Hooks = None


class Caller(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client that may ask IA Interne, with one key for each purpose."""

    purposes: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="What it has a key for: librechat, n8n, vault, or your own word."),
    ] = ("librechat",)
    per_minute: Annotated[int, Meta(ge=0, description="The most requests a minute; 0: no limit.")] = 0


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """IA Interne on a host of the stack `gpu`: language models that clients ask over HTTPS."""

    domain: Annotated[str, Meta(description="The name that it answers at.", examples=["ia.otobot.example"])]
    email: Annotated[str, Meta(description="Given to the certificate authority.")]
    tls: Annotated[Tls | None, Meta(description="Where the certificate comes from.")] = None
    cpu: Annotated[bool, Meta(description="The host has no card: models run on its processors.")] = False
    driver: Annotated[
        str, Meta(description="The branch of NVIDIA's driver, such as 580-server. Default: the newest that is signed.")
    ] = ""
    engine: Annotated[
        Engine, Meta(description="What runs the models: ollama, several of them; vllm, one, for many callers at once.")
    ] = "ollama"
    models: Annotated[
        tuple[str, ...],
        Meta(description="The models that are there: mistral:7b; of vllm the one, such as mistralai/Mistral-7B-v0.3."),
    ] = ()
    callers: Annotated[dict[str, Caller], Meta(description="Clients that may ask it, by slug.")] = {}
    peer_address: Annotated[
        str, Meta(description="Where the other hosts of the same domain reach this one. Default: its address.")
    ] = ""
    settings: _Settings = {}


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A machine reached over SSH."""

    address: Annotated[
        str, Meta(description="IPv4, IPv6 or name; local: this machine, without SSH.", examples=["203.0.113.10"])
    ]
    user: Annotated[str, Meta(description="Who logs in; needs sudo when it is not root.")] = "root"
    port: Annotated[int, Meta(ge=1, le=65535, description="The SSH port.")] = 22
    jump: Annotated[str | None, Meta(description="Another host of this manifest to go through.")] = None
    tags: Annotated[tuple[str, ...], Meta(description="Words to select hosts by.")] = ()
    stack: Annotated[str, Meta(description="What the host runs.")] = "client-vps"
    playbook: Annotated[
        str | None, Meta(description="The playbook that provisions the host. Default: vps, or gpu for that stack.")
    ] = None
    docker: Annotated[Docker | None, Meta(description="Docker's own packages, or the distribution's.")] = None
    gpu: Annotated[Gpu | None, Meta(description="IA Interne, on a host of the stack gpu.")] = None


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person who may log in to hosts as themselves: all of them, or those named or tagged here."""

    keys: Annotated[tuple[str, ...], Meta(min_length=1, description="All of the person's public SSH keys.")]
    hosts: Annotated[tuple[str, ...] | None, Meta(description="Only these hosts, and those that `tags` adds.")] = None
    tags: Annotated[
        tuple[str, ...] | None, Meta(description="Only hosts with one of these tags, and those that `hosts` adds.")
    ] = None
    sudo: Annotated[bool, Meta(description="May become root, without a password.")] = True
    role: Annotated[
        str | None, Meta(description="No shell and no sudo: only the commands of this role, by `otobotctl exec`.")
    ] = None


class CommandRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Commands that an operator of this role may run: one a line, each word as it is typed, or a placeholder.

    `{name}` is a name, `{number}` a number, `{path}` an absolute path below one of `paths`; the last word may end in
    `...`, for one or more.
    """

    host: Annotated[tuple[str, ...], Meta(description="On the host.", examples=[["tail -n {number} {path}"]])] = ()
    inside: Annotated[tuple[str, ...], Meta(description="In a service's container.")] = ()
    paths: Annotated[tuple[str, ...], Meta(description="Files and directories that `{path}` may name.")] = ()


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person of the client who may log in."""

    email: Annotated[str, Meta(description="An e-mail address.")]
    name: Annotated[str, Meta(description="As it is shown.")] = ""
    role: Annotated[Role, Meta(description="What the person may do.")] = "user"


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A company served."""

    company: Annotated[str, Meta(description="The company's name, as it is shown.")]
    email: Annotated[str, Meta(description="Whom to write to; also given to the certificate authority.")]
    host: Annotated[str, Meta(description="The host of this manifest that the client runs on.")]
    domain: Annotated[str, Meta(description="The client's domain name.", examples=["acme.example"])]
    index: Annotated[
        int,
        Meta(ge=0, le=99, description="The client's slot on its host; its ports derive from it, so it never changes."),
    ] = 0
    environment: Annotated[EnvironmentName | None, Meta(description="dev, stage or prod.")] = None
    timezone: Annotated[str | None, Meta(description="An IANA time zone.")] = None
    services: _Services = None
    settings: _Settings = {}
    tls: Annotated[Tls | None, Meta(description="Where certificates come from.")] = None
    names: _Names = None
    users: Annotated[tuple[User, ...], Meta(description="People of the client who may log in.")] = ()
    backup: Annotated[Backup | None, Meta(description="The backup policy.")] = None
    hooks: _Hooks = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fleet: hosts, the clients on them and who may read their secrets."""

    schema: Annotated[str | None, Meta(description="The JSON Schema of this file, for editors.")] = msgspec.field(
        name="$schema", default=None
    )
    version: Annotated[int, Meta(description=f"The manifest's form: {VERSION}.")]
    company: Annotated[str, Meta(description="Who operates the fleet.")] = "Otobot"
    defaults: Annotated[Defaults, Meta(description="What holds where nothing else is said.")] = Defaults()
    environments: Annotated[
        dict[EnvironmentName, Environment], Meta(description="What differs in dev, stage or prod.")
    ] = {}
    recipients: Annotated[
        tuple[str, ...], Meta(description="Who can open the secrets: ssh-ed25519, ssh-rsa or age1... public keys.")
    ] = ()
    operators: Annotated[
        dict[str, Operator], Meta(description="People with an account of their own on the hosts, by its name.")
    ] = {}
    roles: Annotated[
        dict[str, CommandRole], Meta(description="Roles of operators, beside `reader` and `support` that are built in.")
    ] = {}
    hosts: Annotated[dict[str, Host], Meta(description="Machines, by name.")] = {}
    clients: Annotated[dict[str, Client], Meta(description="Companies served, by slug.")] = {}
