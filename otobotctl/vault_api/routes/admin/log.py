"""The audit, to be read and nothing else."""

from __future__ import annotations

from typing import Any, Final

from ... import contract_admin as shapes
from ... import inputs
from ...endpoint import Call, Endpoint
from .common import ADMIN, FORBIDDEN, entry

COLUMNS: Final = """id, created_at, access_type, outcome, accessed_by, user_id, service_code, client_connection_id,
    request_id, address, details"""

# A filter that is not given is null and fits everything.
_PAGE: Final = f"""
SELECT {COLUMNS} FROM credential_access_logs
WHERE client_id = %(client)s
    AND (%(before)s::bigint IS NULL OR id < %(before)s::bigint)
    AND (%(user)s::uuid IS NULL OR user_id = %(user)s::uuid)
    AND (%(connection)s::uuid IS NULL OR client_connection_id = %(connection)s::uuid)
    AND (%(action)s::text IS NULL OR access_type = %(action)s::text)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s::text)
    AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s::timestamptz)
    AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s::timestamptz)
ORDER BY id DESC LIMIT %(limit)s"""  # noqa: S608 - a constant


async def page(call: Call) -> shapes.AuditList:
    """A page of entries, newest first; that somebody read it is an entry too."""
    query: shapes.AuditPage = call.query
    given = {
        "client": await call.vault.database.client(),
        "before": query.before,
        "user": inputs.identity(query.user, "user") if query.user else None,
        "connection": inputs.identity(query.connection, "connection") if query.connection else None,
        "action": query.action or None,
        "outcome": query.outcome or None,
        "since": inputs.instant(query.since, "since"),
        "until": inputs.instant(query.until, "until"),
        "limit": query.limit,
    }
    rows = await call.vault.database.all(_PAGE, given)
    filters = [name for name in query.__struct_fields__ if name != "limit" and getattr(query, name)]
    await call.vault.audit.record(entry(call, "audit", "read", filters=" ".join(filters), count=str(len(rows))))
    entries = [state(row) for row in rows]
    return shapes.AuditList(entries=entries, next=entries[-1].id if len(entries) == query.limit else None)


def state(row: tuple[Any, ...]) -> shapes.AuditEntry:
    """A row of `COLUMNS` as an answer."""
    return shapes.AuditEntry(
        id=row[0],
        at=row[1].isoformat(),
        action=row[2],
        outcome=row[3],
        by=row[4],
        user_id=_text(row[5]),
        service=row[6],
        connection_id=_text(row[7]),
        request_id=_text(row[8]),
        address=row[9],
        details=row[10],
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.AUDIT_PATH, "audit", page, summary="A page of the audit, newest first.", query=shapes.AuditPage,
        answer=shapes.AuditList, statuses=FORBIDDEN, scope="audit.read", **ADMIN,
    ),
)  # fmt: skip
