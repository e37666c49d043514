"""What an erasure empties, for a person who asks for it now and for everybody whom a restored archive brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

# Every table that says something about a person; the audit stays, with the id alone.
EMPTY: Final = (
    "DELETE FROM client_connections WHERE client_id = %s AND user_id = %s",
    "DELETE FROM curation_sources WHERE client_id = %s AND user_id = %s",
    "DELETE FROM client_sessions WHERE client_id = %s AND user_id = %s",
    "DELETE FROM password_history WHERE client_id = %s AND user_id = %s",
    "DELETE FROM mfa_recovery_codes WHERE client_id = %s AND user_id = %s",
    "DELETE FROM user_permissions WHERE client_id = %s AND user_id = %s",
    "DELETE FROM oauth_states WHERE client_id = %s AND user_id = %s",
    "DELETE FROM oauth_tickets WHERE client_id = %s AND user_id = %s",
    """UPDATE users SET email = id || '@erased.invalid', name = '', role = 'user', is_active = false,
        password_hash = NULL, password_changed_at = NULL, last_login_at = NULL, failed_logins = 0,
        locked_until = NULL, mfa_secret = NULL, mfa_enabled = false, mfa_last_step = 0,
        erased_at = now(), updated_at = now()
    WHERE client_id = %s AND id = %s""",
    "INSERT INTO erasures (client_id, user_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
)

# The row in `erasures` outlives a restore, or comes with it: whoever is named there has nothing here any more.
_BACK: Final = """
SELECT e.client_id, e.user_id FROM erasures e JOIN users u ON u.client_id = e.client_id AND u.id = e.user_id
WHERE u.erased_at IS NULL FOR UPDATE OF u"""


def again(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    """Erase everybody who was erased before and is back; return how many that are. The caller has a transaction.

    The connections were revoked at their providers when they were erased first.
    """
    people = connection.execute(_BACK).fetchall()
    for person in people:
        for statement in EMPTY:
            connection.execute(statement, person)
    return len(people)
