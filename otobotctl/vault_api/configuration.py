"""Configuration comes from the environment only, is checked whole at start, and no message shows a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_WEBHOOK = re.compile(r"https?://[!-~]{1,2000}")
_REDIS = re.compile(r"rediss?://([^@/\s]*@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[0-9]{1,4})?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_RATE = re.compile(r"[1-9][0-9]{0,8}/([1-9][0-9]{0,3})?(second|minute|hour)s?")


class ConfigurationError(Exception):
    """What is wrong with the environment, one finding a line, no values."""

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class Hidden:
    """A value that must not show; a plain class, so that neither repr nor asdict can print it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Hidden()"

    def reveal(self) -> str:
        """The value itself."""
        return self._value


@dataclass(frozen=True)
class Login:
    """A database role."""

    user: str
    password: Hidden


@dataclass(frozen=True)
class Settings:
    """The whole configuration. Of what may change under way the newest comes first: tokens, master keys, JWT secrets.

    `owner` is there only for `migrate` and the audit's upkeep. `redis` is where limits are counted when there are
    several replicas; empty, each counts its own. `tokens` open what n8n asks, `node_tokens` nothing but the read of
    credentials, which `expose_credentials` opens to the former too. `outbound_allow` are the hosts with ports that the
    vault may call although they are private or speak plain HTTP; `providers_file` has entries beside those of
    oauth/providers.yaml.
    """

    client: str
    host: str
    port: int
    database: str
    runtime: Login
    owner: Login | None
    master_keys: tuple[Hidden, ...]
    audit_key: Hidden
    tokens: tuple[Hidden, ...]
    node_tokens: tuple[Hidden, ...]
    expose_credentials: bool
    operator_token: Hidden | None
    jwt_secrets: tuple[Hidden, ...]
    log_level: str
    public_url: str
    allowed_origins: tuple[str, ...]
    trusted_proxies: int
    internal_rate: str
    public_rate: str
    alert_webhook: Hidden | None
    n8n_url: str
    n8n_webhook_secret: Hidden | None
    redis: Hidden | None
    outbound_allow: frozenset[str]
    providers_file: str
    api_hosts: tuple[tuple[str, str], ...]
    audit_days: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, owner: bool = False, serves: bool = True) -> Settings:
        """Read and check every variable. `owner`: the owner's login must be there; `serves`: so must what callers show.

        Raises:
            ConfigurationError: with all findings at once.
        """
        reader = Reader(environment)
        settings = cls(
            client=reader.matching("VAULT_CLIENT", _SLUG, "a client's slug: a-z, 0-9 and hyphens"),
            host=reader.needed("VAULT_DATABASE_HOST"),
            port=reader.number("VAULT_DATABASE_PORT", 5432, 65535),
            database=reader.needed("VAULT_DATABASE_NAME"),
            runtime=reader.login("VAULT_RUNTIME"),
            owner=reader.login("VAULT_OWNER") if owner or reader.said("VAULT_OWNER_USER") else None,
            master_keys=reader.master_keys(),
            audit_key=Hidden(reader.matching("AUDIT_HMAC_KEY", _HEX_KEY, "64 hexadecimal characters")),
            tokens=reader.several("N8N_INTERNAL_TOKEN", needed=serves),
            node_tokens=reader.several("N8N_NODE_TOKEN", needed=False),
            expose_credentials=reader.one_of("VAULT_EXPOSE_CREDENTIALS", ("true", "false"), "false") == "true",
            operator_token=reader.optional("VAULT_OPERATOR_TOKEN", reader.long),
            jwt_secrets=reader.several("API_JWT_SECRET", needed=serves),
            log_level=reader.one_of("VAULT_LOG_LEVEL", LEVELS, "info"),
            public_url=reader.url("VAULT_PUBLIC_URL"),
            allowed_origins=reader.origins("VAULT_ALLOWED_ORIGINS"),
            trusted_proxies=reader.number("VAULT_TRUSTED_PROXIES", 0, 8),
            internal_rate=reader.rate("VAULT_INTERNAL_RATE", "60000/minute"),
            public_rate=reader.rate("VAULT_PUBLIC_RATE", "100/15minutes"),
            alert_webhook=reader.optional("VAULT_ALERT_WEBHOOK", reader.webhook),
            n8n_url=reader.url("VAULT_N8N_URL"),
            n8n_webhook_secret=reader.optional("VAULT_N8N_WEBHOOK_SECRET", reader.long),
            redis=reader.optional("VAULT_REDIS_URL", reader.redis),
            outbound_allow=frozenset(reader.said("VAULT_OUTBOUND_ALLOW").split()),
            providers_file=reader.said("VAULT_PROVIDERS_FILE"),
            api_hosts=reader.pairs("VAULT_API_HOSTS"),
            audit_days=reader.number("VAULT_AUDIT_DAYS", 730, 36500),
        )
        reader.check_roles(settings)
        if reader.findings:
            raise ConfigurationError(tuple(reader.findings))
        return settings


class Reader:
    """Reads variables and collects findings; every method returns something usable so that reading goes on."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.findings: list[str] = []

    def said(self, name: str) -> str:
        """What a variable says; empty when it is not set."""
        return self._environment.get(name, "")

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """Words such as `key=value`."""
        found = [word.partition("=") for word in self.said(name).split()]
        if not all(key and value for key, _, value in found):
            self.findings.append(f"{name} must be such as ia-interne=ia.example.com")
        return tuple((key, value) for key, _, value in found)

    def needed(self, name: str) -> str:
        """A variable that must be set."""
        value = self.said(name)
        if not value:
            self.findings.append(f"{name} is not set")
        return value

    def optional(self, name: str, read: Callable[[str], str]) -> Hidden | None:
        """A secret, or an address that may hold one, checked only where it is set."""
        return Hidden(read(name)) if self.said(name) else None

    def _checked(self, name: str, fits: Callable[[str], object], must_be: str) -> str:
        value = self.needed(name)
        if value and not fits(value):
            self.findings.append(f"{name} must be {must_be}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], must_be: str) -> str:
        """A variable of one form."""
        return self._checked(name, pattern.fullmatch, must_be)

    def long(self, name: str) -> str:
        """A secret that is long enough."""
        return self._checked(name, lambda value: len(value) >= 32 and value.isascii(), "at least 32 ASCII characters")  # noqa: PLR2004

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 (or 1, where 0 is not the default) to `most`."""
        value = self.said(name) or str(default)
        if re.fullmatch("[0-9]{1,9}", value) and min(1, default) <= int(value) <= most:
            return int(value)
        self.findings.append(f"{name} must be a number up to {most}")
        return default

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        value = (self.said(name) or default).lower()
        if value not in choices:
            self.findings.append(f"{name} must be one of {', '.join(choices)}")
            return default
        return value

    def url(self, name: str) -> str:
        """An address without a slash at its end; empty when it is not set."""
        value = self.said(name).rstrip("/")
        if value and not _URL.fullmatch(value):
            self.findings.append(f"{name} must be an address such as https://acme.example")
        return value

    def redis(self, name: str) -> str:
        """Where Redis is, with its password."""
        return self.matching(name, _REDIS, "an address such as redis://:password@redis:6379/0")

    def webhook(self, name: str) -> str:
        """An address with a path and query of any kind: what services hand out as a webhook."""
        return self.matching(name, _WEBHOOK, "an address such as https://hooks.example/T0/B0?key=x")

    def origins(self, name: str) -> tuple[str, ...]:
        """Origins, separated by spaces."""
        found = tuple(self.said(name).split())
        self.findings += [
            f"{name} must be origins such as https://app.acme.example" for one in found if not _ORIGIN.fullmatch(one)
        ]
        return found

    def rate(self, name: str, default: str) -> str:
        """So many requests in so long."""
        value = self.said(name) or default
        if not _RATE.fullmatch(value):
            self.findings.append(f"{name} must be a rate such as {default}")
            return default
        return value

    def login(self, prefix: str) -> Login:
        """A role and its password."""
        user = self.matching(f"{prefix}_USER", _ROLE, "a database role: a-z, 0-9 and underscores")
        return Login(user, Hidden(self.needed(f"{prefix}_PASSWORD")))

    def several(self, name: str, *, needed: bool) -> tuple[Hidden, ...]:
        """A secret, and the one before it while both are valid."""
        if not needed and not self.said(name):
            return ()
        names = [name, *(each for each in (f"{name}_PREVIOUS",) if self.said(each))]
        return tuple(Hidden(self.long(each)) for each in names)

    def master_keys(self) -> tuple[Hidden, ...]:
        """The key that seals now, then those that only open: ..._PREVIOUS, ..._PREVIOUS_2 and on."""
        base = "ENCRYPTION_MASTER_KEY"
        names = [base]
        number = 1
        while self.said(following := f"{base}_PREVIOUS" + (f"_{number}" if number > 1 else "")):
            names.append(following)
            number += 1
        return tuple(Hidden(self.matching(each, _HEX_KEY, "64 hexadecimal characters")) for each in names)

    def check_roles(self, settings: Settings) -> None:
        """Two roles, and no secret that serves twice."""
        if settings.owner and settings.owner.user and settings.owner.user == settings.runtime.user:
            self.findings.append("VAULT_RUNTIME_USER and VAULT_OWNER_USER must be two roles")
        one = [settings.operator_token] if settings.operator_token else []
        tokens = [*settings.tokens, *settings.node_tokens, *one]
        secrets = [*settings.master_keys, settings.audit_key, *settings.jwt_secrets, *tokens]
        values = [secret.reveal().lower() for secret in secrets if secret.reveal()]
        if len(set(values)) < len(values):
            self.findings.append("the keys, tokens and secrets of the environment must all differ")
