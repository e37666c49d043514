"""A batch of reads as PostgreSQL is asked and answers: two prepared statements, their parameters and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec
from psycopg import pq

from .actor import Actor

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from .chain import Link, Named

# A lookup by the unique index for each, whatever the tables' statistics say: as a join, a table of users without
# statistics was read from end to end for every batch.
_LOOK: Final = """
SELECT asked.number, found.*
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS asked (user_id, service_code, number)
CROSS JOIN LATERAL (
    SELECT c.id::text, c.account_identifier, c.encrypted_access_token, c.encrypted_api_key, c.token_expires_at,
        c.status, c.encrypted_refresh_token IS NOT NULL
    FROM client_connections c
    WHERE c.client_id = $3::uuid AND c.user_id = asked.user_id AND c.service_code = asked.service_code AND c.is_active
        AND (SELECT u.is_active FROM users u WHERE u.client_id = $3::uuid AND u.id = asked.user_id)
    LIMIT 1
) AS found"""

# The MACs come as one string of bytes: an array of them takes longer to read than the rows to write.
_RECORD: Final = """
INSERT INTO credential_access_logs (client_id, stream, created_at, sequence, mac, access_type, outcome, accessed_by,
    user_id, service_code, client_connection_id, request_id, address)
SELECT $1::uuid, $2::uuid, $3::timestamptz, $4::bigint + number, substr($5::bytea, (32 * number - 31)::integer, 32),
    'read', outcome, label, user_id, service, connection, request, address
FROM unnest($6::text[], $7::text[], $8::uuid[], $9::text[], $10::uuid[], $11::uuid[], $12::text[]) WITH ORDINALITY
    AS r (outcome, label, user_id, service, connection, request, address, number)"""

STATEMENTS: Final = {"look": _LOOK, "record": _RECORD}
LOOK_FORMATS: Final = (pq.Format.TEXT,) * 3
RECORD_FORMATS: Final = (*(pq.Format.TEXT,) * 4, pq.Format.BINARY, *(pq.Format.TEXT,) * 7)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's


class Asked(msgspec.Struct, frozen=True, gc=False):
    """Whose credentials of which service, who asks and by which request. Ids are canonical text: lower case."""

    user: str
    service: str
    request: str
    actor: Actor
    address: str = ""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A connection's row; its values are still sealed."""

    id: str
    account: str
    access_token: str | None
    api_key: str | None
    expires_at: datetime | None
    status: str
    refreshable: bool


def look(batch: Sequence[Asked], client: UUID) -> tuple[bytes, bytes, bytes]:
    """The parameters of `look`."""
    return _ids([one.user for one in batch]), _texts([one.service for one in batch]), str(client).encode()


def stored(result: PGresult) -> Iterator[tuple[int, Stored]]:
    """What `look` found, each with its place in the batch, from 0."""
    value = result.get_value
    for row in range(result.ntuples):
        expires = value(row, 5)
        yield (
            _integer(value(row, 0)) - 1,
            Stored(
                _text(value(row, 1)) or "",
                _text(value(row, 2)) or "",
                _text(value(row, 3)),
                _text(value(row, 4)),
                None if expires is None else _EPOCH + timedelta(microseconds=_integer(expires)),
                _text(value(row, 6)) or "",
                value(row, 7) == b"\x01",
            ),
        )


def record(link: Link, rows: Sequence[Named]) -> list[bytes]:
    """The parameters of `record`; the rows are sealed into the chain here."""
    shared = (str(link.client), str(link.stream), link.now.isoformat(), str(link.sequence))
    macs = b"".join([link.seal(row) for row in rows])
    _, outcomes, labels, users, services, connections, requests, addresses, _ = zip(*rows, strict=True)
    return [
        *(text.encode() for text in shared), macs, _texts(outcomes), _texts(labels), _ids(users), _texts(services),
        _ids(connections), _ids(requests), _texts(addresses),
    ]  # fmt: skip


def _integer(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big", signed=True)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


def _ids(values: Iterable[str]) -> bytes:
    """An array of UUIDs; an empty one is null."""
    return f"{{{','.join([value or 'NULL' for value in values])}}}".encode()


def _texts(values: Sequence[str]) -> bytes:
    """An array of texts."""
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') != 2 * len(values) - 2:
        joined = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return f'{{"{joined}"}}'.encode()
