"""Whether the audit is whole: each row's MAC, each chain's order, each head that a later chain or an anchor knows."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from .audit import Row
from .chain import covered, frame, opening_mac, seal, trim_proof

if TYPE_CHECKING:
    from .database import Database, Wire

_PAGE: Final = 2000

STREAMS: Final = """
SELECT id, number, opened_at, heads, mac, trimmed_to, trimmed_mac, trim_proof FROM audit_streams
WHERE client_id = %s ORDER BY number"""

ROWS: Final = """
SELECT sequence, mac, created_at, access_type, outcome, accessed_by, user_id, service_code, client_connection_id,
    request_id, address, details FROM credential_access_logs
WHERE client_id = %s AND stream = %s AND sequence > %s ORDER BY sequence LIMIT %s"""


@dataclass(frozen=True)
class Verdict:
    """What was found. `broken` names the first row of each chain that is not as it was written; empty is well.

    `heads` are the newest row of each chain, as `[stream, sequence, mac]`: kept elsewhere, they are the anchor that a
    later verification compares with, because a chain alone does not show that its end was cut off.
    """

    rows: int
    streams: int
    broken: tuple[str, ...]
    heads: tuple[tuple[str, int, str], ...]


class Verifier:
    """Reads the whole audit, a page at a time."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self._broken: list[str] = []
        self._rows = 0
        # The MACs that a later opening or the anchor speaks of.
        self._wanted: dict[tuple[str, int], str] = {}
        self._met: set[tuple[str, int]] = set()

    async def run(self, anchor: Iterable[Sequence[Any]] = ()) -> Verdict:
        """Verify everything. `anchor`: the heads of an earlier verdict. Raises psycopg.Error."""
        client = await self._database.client()
        for stream, sequence, mac in anchor:
            self._wanted[str(stream), int(sequence)] = str(mac)
        # Of one moment: what is trimmed between a look at the chains and one at their rows would seem cut out.
        async with self._database.connection() as wire, wire.transaction():
            await wire.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            streams = await (await wire.execute(STREAMS, (client,))).fetchall()
            for position, row in enumerate(streams, 1):
                self._opening(client, position, row)
            heads = [await self._chain(wire, client, row) for row in streams]
        trimmed = {str(row[0]): row[5] for row in streams}
        for (stream, sequence), _ in sorted(self._wanted.items()):
            if (stream, sequence) not in self._met and sequence > trimmed.get(stream, -1):
                self._broken.append(f"{stream} #{sequence}: was there once, and is gone")
        return Verdict(self._rows, len(streams), tuple(self._broken), tuple(heads))

    def _opening(self, client: UUID, position: int, row: Sequence[Any]) -> None:
        stream, number, opened_at, heads, mac, *trim = row
        if number != position:
            self._broken.append(f"chain {position}: is missing")
        if not hmac.compare_digest(mac, opening_mac(self._key, client, stream, number, opened_at, heads)):
            self._broken.append(f"{stream} #0: its opening was changed")
            return
        for earlier, sequence, head in json.loads(heads):
            self._wanted.setdefault((earlier, sequence), head)
        if trim[0] and not hmac.compare_digest(trim[2] or b"", trim_proof(self._key, stream, trim[0], trim[1])):
            self._broken.append(f"{stream} #{trim[0]}: what was forgotten does not fit")

    async def _chain(self, wire: Wire, client: UUID, row: Sequence[Any]) -> tuple[str, int, str]:
        stream, *_, mac, trimmed_to, trimmed_mac, _ = row
        last, before = trimmed_to, trimmed_mac or mac
        whole = True
        self._meet(str(stream), last, before)
        while rows := await (await wire.execute(ROWS, (client, stream, last, _PAGE))).fetchall():
            for sequence, found, *columns in rows:
                self._rows += 1
                named = _as_written(sequence, columns).named()
                expected = seal(self._key, before, covered(frame(client, stream, columns[0]), sequence, named))
                if whole and (sequence != last + 1 or not hmac.compare_digest(found, expected)):
                    whole = False
                    what = "was changed" if sequence == last + 1 else f"follows #{last}: rows between are gone"
                    self._broken.append(f"{stream} #{sequence}: {what}")
                last, before = sequence, found
                self._meet(str(stream), last, before)
        return str(stream), last, before.hex()

    def _meet(self, stream: str, sequence: int, mac: bytes) -> None:
        wanted = self._wanted.get((stream, sequence))
        if wanted is None:
            return
        self._met.add((stream, sequence))
        if wanted != mac.hex():
            self._broken.append(f"{stream} #{sequence}: is not the row that was there")


def _as_written(sequence: int, columns: Sequence[Any]) -> Row:
    _, action, outcome, label, user, service, connection, request, address, details = columns
    who, what, row, by = (str(named or "") for named in (user, service, connection, request))
    return Row(sequence, action, outcome, label, who, what, row, by, address, details)
