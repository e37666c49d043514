"""n8n has its owner: until then, the first visitor becomes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from otobotctl.doctor.model import Case, Check, Finding, Query

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient

_SQL = "SELECT value FROM settings WHERE key = 'userManagement.isInstanceOwnerSetUp'"


def _query(client: str) -> Query:
    return Query(client, "otobot_n8n", _SQL)


def queries(client: ResolvedClient) -> Iterable[Query]:
    """n8n's own note of it."""
    return (_query(client.slug),) if "n8n" in client.services else ()


def judge(case: Case) -> Iterator[Finding]:
    """An n8n that waits for whoever comes first."""
    for client in case.clients:
        rows = case.rows(_query(client.slug)) if "n8n" in client.services else None
        if rows is not None and ("true",) not in rows:
            yield Finding(
                "warning",
                f"{client.slug}/n8n",
                "has no owner yet: whoever opens it first becomes it",
                f"otobotctl client deploy {client.slug}, which makes it",
            )


CHECK = Check("n8n_owner", "n8n has its owner.", judge, queries=queries)
