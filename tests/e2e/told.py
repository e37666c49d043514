"""What the doctor was heard to say of things that were broken for real, and in which test. `BROKEN` is held against it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# "image" of a service under another tag, so that it runs a version that it is not.
OLD_REDIS, OLD_TOOLJET = "7.4.5", "v2.32.0"


@dataclass(frozen=True)
class Told:
    """A finding that must be heard: `words` is a pattern of what was seen."""

    check: str
    severity: str
    subject: str
    words: str

    def heard(self, host: dict[str, Any]) -> bool:
        """Whether the doctor's answer about a host has it, with a remedy."""
        return any(
            (row["check"], row["severity"], row["subject"]) == (self.check, self.severity, self.subject)
            and re.search(self.words, row["seen"])
            and row["remedy"]
            for row in host["findings"]
        )


def unheard(host: dict[str, Any], *wanted: Told) -> list[Told]:
    """What of `wanted` was not said."""
    return [each for each in wanted if not each.heard(host)]


def ailing(wanted: Iterable[Told]) -> set[tuple[str, str]]:
    """(check, subject) of those that somebody must act on."""
    return {(each.check, each.subject) for each in wanted if each.severity != "info"}


VPS, VAULT, N8N, TOOLJET, REDIS = "vps-1", "acme/vault-api", "acme/n8n", "acme/tooljet", "acme/redis"
_REFUSED = r"cannot log in to otobot_\w+: .*password authentication failed"

# tests/e2e/test_doctor.py, by test
OWNER = (Told("n8n_owner", "warning", N8N, "has no owner yet"),)
FIXABLE = (
    Told("logins", "critical", TOOLJET, _REFUSED),
    Told("logins", "critical", VAULT, _REFUSED),
    Told("stuck", "critical", TOOLJET, "its database refuses its password"),
    Told("containers", "critical", REDIS, "has no container"),
    Told("containers", "critical", "acme/postgres-init", "has no container"),
    Told("containers", "critical", VAULT, r"is exited \(\d+\)|is ended"),
    Told("hardening", "critical", VPS, "hardening/firewall"),
    Told("hardening", "critical", VPS, "hardening/docker-wall-stands"),
    Told("hardening", "critical", VPS, "hardening/fail2ban"),
)
DAEMON = (Told("docker", "critical", VPS, "daemon does not answer"),)
NO_DOCKER = (Told("docker", "critical", VPS, "Docker is not installed"),)
DECIDE = (
    Told("disk", "critical", VPS, "disk /boot is 100% full$"),
    Told("bypass", "critical", "stray", r"publishes 0\.0\.0\.0:\d+"),
    Told("bypass", "critical", "stray", r"publishes :::\d+"),
    Told("bypass", "critical", VPS, r"port \d+ of \S+ answers from outside"),
    Told("inside_ports", "critical", VAULT, r"nothing listens on 127\.0\.0\.1:3001"),
    Told("certificates", "critical", "acme", r"ended \d+ days ago"),
    Told("keys", "critical", TOOLJET, r"must be .* hexadecimal characters; it has \d+ characters"),
    Told("keys", "critical", TOOLJET, "not of the right kind"),
    Told("environment", "critical", TOOLJET, r"\w+_KEY is empty"),
    Told("environment", "warning", REDIS, r"\w+ is not there"),
    Told("archives", "warning", "acme", "there is no archive of it yet"),
    Told("secrets", "warning", "acme", r"\d+ secret is overdue: \w+"),
    Told("schema", "warning", VAULT, r"migration 9001, which this otobotctl does not know"),
    Told("tokens", "warning", VAULT, r"\d+ connections? (is|are) broken"),
    Told("tokens", "warning", VAULT, r"\d+ tokens? ran out"),
    Told("images", "warning", REDIS, r"runs redis:\S+, and the fleet says redis:\S+"),
    Told("images", "info", TOOLJET, rf"runs {OLD_TOOLJET}; \S+ is newer"),
)  # fmt: skip
DECIDE_MORE = (
    Told("reach", "info", VPS, "reboot"),
    Told("disk", "warning", VPS, r"disk / ?\w* is \d+% full$|disk /boot is 90% full$"),
    Told("disk", "critical", VPS, r"disk /\w* is \d+% full of inodes"),
    Told("memory", "warning", VPS, r"memory is 9\d% full"),
    Told("memory", "warning", "front/nginx", "a process in it was killed for want of memory"),
    Told("memory", "warning", REDIS, "^redis-server was killed for want of memory"),
    Told("containers", "critical", "acme/vault-migrate", r"is exited \(137\); it was killed for want of memory"),
    Told("containers", "critical", REDIS, "is unhealthy"),
    Told("containers", "warning", "acme/extra", "is no part of the release"),
    Told("containers", "warning", "front/nginx", r"has been restarted \d+ times, last \d+ minutes ago"),
    Told("logins", "critical", REDIS, "its login cannot log in to redis: .*(WRONGPASS|NOAUTH)"),
    Told("archives", "warning", "acme", r"the last archive is 2\.\d days old"),
    Told("images", "warning", REDIS, rf"{OLD_REDIS} has 1 published vulnerability \(CVE-2025-49844"),
    Told("secrets", "info", "acme", r"to be rotated soon, the first in \d+ days: \w+"),
    Told("certificates", "warning", "acme", r"ends in \d\.\d days and was not renewed"),
    Told("schema", "critical", VAULT, "the vault's schema is not there"),
    Told("n8n_workflows", "warning", N8N, "keeps its data: saveManualExecutions"),
    Told("n8n_workflows", "info", N8N, "keeps its data: saveDataErrorExecution"),
    Told("n8n_workflows", "critical", N8N, r"what looks like a token in the pinned data of \w+"),
    Told("n8n_workflows", "critical", N8N, r"what looks like a token written into \w+"),
    Told("n8n_workflows", "warning", N8N, r"takes credentials as items in \w+"),
    Told("n8n_workflows", "critical", N8N, r"takes credentials as items in \w+"),
    Told("dns", "info", "acme", r"did not answer for \S+"),
    Told("clock", "warning", VPS, "nothing keeps its clock right"),
)
SCHEMA = (
    Told("schema", "critical", VAULT, r"lacks migration \d+"),
    Told("schema", "critical", VAULT, "migration 1 of the vault was applied with other contents"),
    Told("clock", "warning", VPS, r"its clock is \d+ s (behind|ahead of) this machine's"),
)
NAMES = (
    Told("dns", "critical", "acme", r"leads to \S+, which is not the host"),
    Told("dns", "critical", "acme", r"\S+ does not exist in DNS"),
    Told("dns", "warning", "acme", r"also leads to \S+:\S+, which is not the host"),
    Told("clock", "critical", VPS, r"its clock is \d{3} s (behind|ahead of)"),
    Told("containers", "critical", "acme", "is not deployed"),
    Told("containers", "info", "front/nginx", r"has been restarted \d+ times"),
)
VISITORS = (
    Told("tls", "critical", "acme", r"no TLS with \S+ at \S+: \w+"),
    Told("outside_ports", "critical", VPS, r"ports? 80\b.* of \S+:\S+ cannot be reached"),
    Told("certificates", "critical", "acme", r"shows no certificate: .+"),
    Told("inside_ports", "critical", "front", "nothing listens on port 443"),
)
PORT_TAKEN = (
    Told("inside_ports", "critical", VAULT, "another program has its port: .*(already allocated|already in use)"),
    Told("containers", "critical", VAULT, r"is (exited|created).*Docker says: .*(already allocated|already in use)"),
    Told("reach", "warning", VPS, r"the last run there (failed|died) in \S+"),
)
UNREACHABLE = (
    Told("reach", "critical", VPS, "cannot be asked: "),
    Told("outside_ports", "critical", VPS, r"port\S* .* cannot be reached"),
)
ISOLATED = (Told("shield", "warning", VPS, r"only SSH from \S+ comes in"),)
TAKEN_BACK = (Told("shield", "warning", VPS, r"taken back at \S+"),)
NOT_IN_FORCE = (Told("shield", "critical", VPS, "not in force"),)
HELD_OFF = (Told("shield", "info", VPS, r"holds off \S+"),)

# tests/e2e/test_certificates.py: an ACME server of the lab's own
ACME = (
    Told("certificates", "warning", "acme", "has no certificate by ACME yet; it signs itself"),
    Told("tls", "warning", "acme", r"does not believe the certificate of \S+ at \S+: \w+"),
)
ACME_LATE = (
    Told("certificates", "warning", "acme", r"ends in \d\.\d days and was not renewed"),
    Told("clock", "critical", VPS, r"its clock is \d+ s behind"),
)
UNKNOWN_AUTHORITY = (Told("tls", "warning", "acme", r"does not believe the certificate of \S+ at \S+: \w+"),)

# tests/e2e/test_full_stack.py: the one host with MongoDB
MONGO = (
    Told("logins", "critical", "acme/librechat", "librechat_owner cannot log in to librechat: .*[Aa]uthentication"),
)

REAL = (
    *OWNER, *FIXABLE, *DAEMON, *NO_DOCKER, *DECIDE, *DECIDE_MORE, *SCHEMA, *NAMES, *VISITORS, *PORT_TAKEN,
    *UNREACHABLE, *ISOLATED, *TAKEN_BACK, *NOT_IN_FORCE, *HELD_OFF, *ACME, *ACME_LATE, *UNKNOWN_AUTHORITY, *MONGO,
)  # fmt: skip
