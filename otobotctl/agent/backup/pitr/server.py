"""What a client's PostgreSQL says of its log: where it is, who receives it, and what of it is still there."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr.here import RECEIVER, SLOT
from otobotctl.agent.backup.pitr.segments import position

_WAIT_S = 10.0
_PAUSE_S = 0.3
# All that is committed when this is asked is before `lsn`, but for what is being committed in this very moment.
_ASK = """SELECT json_build_object('system', system_identifier::text, 'lsn', lsn::text, 'file', pg_walfile_name(lsn),
    'at', extract(epoch FROM clock_timestamp()),
    'slot', coalesce((SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'), 'absent'),
    'oldest', coalesce((SELECT min(name) FROM pg_ls_waldir()
        WHERE name ~ '^[0-9A-F]{{24}}$' AND left(name, 8) = left(pg_walfile_name(lsn), 8)), ''))
FROM pg_current_wal_flush_lsn() lsn, pg_control_system();
"""
_RECEIVED = "SELECT max(flush_lsn) FROM pg_stat_replication WHERE application_name = '{}';"
_ANEW = """SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active;
SELECT pg_sleep(0.5);
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{slot}' AND NOT active;
SELECT pg_create_physical_replication_slot('{slot}', true)
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{slot}');
"""


class Told(NamedTuple):
    """One answer. `lsn` is how far the log is on disk, `at` when that was asked, by the server's clock in Unix seconds.

    `slot` is what PostgreSQL says of the slot ("absent", "reserved", "extended", "unreserved", "lost"); `oldest` the
    oldest segment that the server still has, "" where nobody knows.
    """

    system: str
    timeline: str
    lsn: str
    at: float
    slot: str
    oldest: str


class Server:
    """The PostgreSQL of one service. Every method raises RestoreError."""

    def __init__(self, hands: Hands, service: str) -> None:
        self._hands = hands
        self._service = service

    def told(self) -> Told:
        """Ask."""
        said = self._hands.sql(self._service, _ASK.format(slot=SLOT))
        try:
            found = json.loads(said)
            where = (str(found["system"]), found["file"][:8], found["lsn"])
            return Told(*where, float(found["at"]), found["slot"], found["oldest"])
        except (ValueError, KeyError, TypeError) as error:
            raise RestoreError("PostgreSQL does not say where its log is") from error

    def position(self) -> str:
        """How far its log has come."""
        return self._hands.sql(self._service, "SELECT pg_current_wal_lsn();").strip()

    def received(self, lsn: str) -> bool:
        """Wait until whoever receives the log has it as far as this; False: nobody does in time."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            said = self._hands.sql(self._service, _RECEIVED.format(RECEIVER)).strip()
            if said and position(said) >= position(lsn):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)

    def slot_anew(self) -> None:
        """A slot that holds the log from now on."""
        self._hands.sql(self._service, _ANEW.format(slot=SLOT))
