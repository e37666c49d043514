"""Services that start and never get there, and why where their log has words that are known (ToolJet's above all)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix
from otobotctl.render import layout

# service: {cause: (pattern in its log, remedy)}. The log itself never leaves the host.
KNOWN: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "tooljet": {
        "it waits for its database": (
            r"wait-for-it.*timeout|timeout occurred after waiting|waiting \d+ seconds for|ECONNREFUSED.*5432",
            "otobotctl logs {client} postgres",
        ),
        "its database refuses its password": ("password authentication failed", "otobotctl doctor {client} --fix"),
        "it may not create its database": ("permission denied to create database", "otobotctl client deploy {client}"),
        "TOOLJET_HOST is no address": (r"Invalid URL|ERR_INVALID_URL", "otobotctl client deploy {client}"),
        "its LOCKBOX_MASTER_KEY is not its data's": (
            r"Unsupported state or unable to authenticate data|Invalid key length",
            "otobotctl secrets list {client}",
        ),
        "a migration of its database failed": (
            r"QueryFailedError|Error during migration run",
            "otobotctl logs {client} tooljet",
        ),
    },
    "n8n": {
        "its database refuses its password": ("password authentication failed", "otobotctl doctor {client} --fix"),
        "N8N_ENCRYPTION_KEY is not its data's": ("Mismatching encryption keys", "otobotctl secrets list {client}"),
    },
    "vault-api": {
        "its environment is refused": ("configuration_refused", "otobotctl client deploy {client}"),
        "its database does not answer": ("waiting_for_database", "otobotctl logs {client} postgres"),
    },
    "librechat": {
        "its database refuses its password": ("Authentication failed", "otobotctl doctor {client} --fix"),
        "librechat.yaml is not valid": ("Invalid custom config file|Invalid input", "otobotctl client deploy {client}"),
    },
}  # fmt: skip
_LATE = 1.5  # times what its service.yaml gives it


def judge(case: Case) -> Iterator[Finding]:
    """One finding a service that has been starting for too long, or is down for a reason that is known."""
    for client in case.clients:
        for each in case.containers(layout.project(client.slug)):
            service = each["service"]
            causes = [(cause, KNOWN[service][cause][1]) for cause in each.get("marks", ())]
            late = _late_s(case, each)
            if not causes and not late:
                continue
            said = f"; {causes[0][0]}" if causes else ""
            remedy = causes[0][1].format(client=client.slug) if causes else f"otobotctl logs {client.slug} {service}"
            seen = f"has been starting for {late / 60:.0f} minutes" if late else f"is {each['health'] or each['state']}"
            subject = f"{client.slug}/{service}"
            yield Finding("critical", subject, seen + said, remedy, Fix(f"restart {subject}", (steps.restarted(each),)))


def _late_s(case: Case, container: Mapping[str, Any]) -> float:
    """For how long it has been starting, where that is longer than its health check allows; else 0."""
    if container["state"] != "running" or container["health"] != "starting":
        return 0.0
    service = case.catalog.services.get(container["service"])
    health = service.health if service else None
    if health is None:
        return 0.0
    try:
        begun = datetime.fromisoformat(str(container["started"])[:19] + "+00:00").timestamp()
    except ValueError:
        return 0.0
    # A daemon that starts anew finds its containers running, and begins to ask each how it is.
    begun = max(begun, (case.facts or {}).get("docker_since") or 0.0)
    limit = _LATE * (health.start_period_s + health.retries * (health.interval_s + health.timeout_s))
    return case.now - begun if case.now - begun > limit else 0.0


CHECK = Check(
    "stuck",
    "No service hangs at its start; known causes are named.",
    judge,
    marks={service: {cause: pattern for cause, (pattern, _) in causes.items()} for service, causes in KNOWN.items()},
)
