"""The vault's tokens are valid: none broken, none that ran out although it should have been renewed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from otobotctl.doctor.model import Case, Check, Finding, Query

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient

# Ten minutes' grace: what the refresher is about to renew is not lost.
_SQL = (
    "SELECT count(*) FILTER (WHERE c.status = 'broken'), "
    "count(*) FILTER (WHERE c.status = 'active' AND c.token_expires_at < now() - interval '10 minutes') "
    "FROM vault.client_connections c JOIN vault.clients k ON k.id = c.client_id "
    "WHERE c.is_active AND k.slug = '{client}'"
)


def _query(client: str) -> Query:
    return Query(client, "otobot_frontend", _SQL.format(client=client))


def queries(client: ResolvedClient) -> Iterable[Query]:
    """Counts; no token and no user is named."""
    return (_query(client.slug),) if "vault-api" in client.services else ()


def judge(case: Case) -> Iterator[Finding]:
    """How many connections their users must make again, and how many have run out."""
    for client in case.clients:
        rows = case.rows(_query(client.slug)) if "vault-api" in client.services else None
        if not rows:
            continue
        broken, ended = (int(count) for count in rows[0])
        remedy = f"otobotctl vault tokens {client.slug}"
        if broken:
            seen = f"{broken} connection{'s are' if broken > 1 else ' is'} broken: their users must connect again"
            yield Finding("warning", f"{client.slug}/vault-api", seen, remedy)
        if ended:
            seen = f"{ended} token{'s' if ended > 1 else ''} ran out and could not be renewed"
            yield Finding("warning", f"{client.slug}/vault-api", seen, remedy)


CHECK = Check("tokens", "No token of the vault is broken or has run out.", judge, queries=queries)
