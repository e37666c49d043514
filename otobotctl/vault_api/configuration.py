"""Configuration comes from the environment only, is checked whole at start, and no message shows a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]|[a-z]")
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")


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
    """The whole configuration. `tokens` are the internal tokens that are valid now, newest first."""

    client: str
    host: str
    port: int
    database: str
    runtime: Login
    owner: Login
    master_key: Hidden
    tokens: tuple[Hidden, ...]
    jwt_secret: Hidden
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check every variable. Raises ConfigurationError with all findings at once."""
        reader = _Reader(environment)
        settings = cls(
            client=reader.matching("VAULT_CLIENT", _SLUG, "a client's slug: a-z, 0-9 and hyphens"),
            host=reader.needed("VAULT_DATABASE_HOST"),
            port=reader.number("VAULT_DATABASE_PORT", 5432),
            database=reader.needed("VAULT_DATABASE_NAME"),
            runtime=reader.login("VAULT_RUNTIME"),
            owner=reader.login("VAULT_OWNER"),
            master_key=Hidden(reader.matching("ENCRYPTION_MASTER_KEY", _HEX_KEY, "64 hexadecimal characters")),
            tokens=reader.tokens(),
            jwt_secret=Hidden(reader.long("API_JWT_SECRET")),
            log_level=reader.one_of("VAULT_LOG_LEVEL", LEVELS, "info"),
        )
        reader.check_roles(settings)
        if reader.findings:
            raise ConfigurationError(tuple(reader.findings))
        return settings


class _Reader:
    """Reads variables and collects findings; every method returns something usable so that reading goes on."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.findings: list[str] = []

    def needed(self, name: str) -> str:
        value = self._environment.get(name, "")
        if not value:
            self.findings.append(f"{name} is not set")
        return value

    def _checked(self, name: str, fits: Callable[[str], object], must_be: str) -> str:
        value = self.needed(name)
        if value and not fits(value):
            self.findings.append(f"{name} must be {must_be}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], must_be: str) -> str:
        return self._checked(name, pattern.fullmatch, must_be)

    def long(self, name: str) -> str:
        return self._checked(name, lambda value: len(value) >= 32 and value.isascii(), "at least 32 ASCII characters")  # noqa: PLR2004

    def number(self, name: str, default: int) -> int:
        value = self._environment.get(name, "") or str(default)
        if value.isascii() and value.isdigit() and 0 < int(value[:6]) < 65536:  # noqa: PLR2004
            return int(value)
        self.findings.append(f"{name} must be a port number")
        return default

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = (self._environment.get(name, "") or default).lower()
        if value not in choices:
            self.findings.append(f"{name} must be one of {', '.join(choices)}")
            return default
        return value

    def login(self, prefix: str) -> Login:
        user = self.matching(f"{prefix}_USER", _ROLE, "a database role: a-z, 0-9 and underscores")
        return Login(user, Hidden(self.needed(f"{prefix}_PASSWORD")))

    def tokens(self) -> tuple[Hidden, ...]:
        current = self.long("N8N_INTERNAL_TOKEN")
        if not self._environment.get("N8N_INTERNAL_TOKEN_PREVIOUS"):
            return (Hidden(current),)
        return (Hidden(current), Hidden(self.long("N8N_INTERNAL_TOKEN_PREVIOUS")))

    def check_roles(self, settings: Settings) -> None:
        if settings.owner.user and settings.owner.user == settings.runtime.user:
            self.findings.append("VAULT_RUNTIME_USER and VAULT_OWNER_USER must be two roles")
        secrets = [settings.master_key, *settings.tokens, settings.jwt_secret]
        values = [secret.reveal() for secret in secrets if secret.reveal()]
        if len(set(values)) < len(values):
            self.findings.append("ENCRYPTION_MASTER_KEY, N8N_INTERNAL_TOKEN and API_JWT_SECRET must all differ")
