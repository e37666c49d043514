"""The SQL of the runtime role. Every statement on a client's rows names the client."""

from __future__ import annotations

from typing import Final

_AUDIT_COLUMNS: Final = "client_id, client_connection_id, user_id, service_code, action, outcome, source, request_id"

# Select and audit are one statement: either both happen or neither does. A miss is audited too.
READ: Final = f"""
WITH found AS (
    SELECT c.id, c.account_identifier, c.encrypted_access_token, c.encrypted_api_key, c.token_expires_at
    FROM client_connections c JOIN users u ON u.client_id = c.client_id AND u.id = c.user_id
    WHERE c.client_id = %(client)s AND c.user_id = %(user)s AND c.service_code = %(service)s
        AND c.is_active AND u.is_active
), audited AS (
    INSERT INTO credential_access_logs ({_AUDIT_COLUMNS})
    SELECT %(client)s, found.id, %(user)s, %(service)s, 'read',
        CASE WHEN found.id IS NULL THEN 'missing' ELSE 'found' END, %(source)s, %(request)s
    FROM (SELECT 1) AS always LEFT JOIN found ON true
)
SELECT id, account_identifier, encrypted_access_token, encrypted_api_key, token_expires_at FROM found"""  # noqa: S608

AUDIT: Final = f"""INSERT INTO credential_access_logs ({_AUDIT_COLUMNS})
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""  # noqa: S608 - a constant

ACTIVE: Final = """
SELECT id FROM client_connections
WHERE client_id = %s AND user_id = %s AND service_code = %s AND is_active FOR UPDATE"""

SAVE: Final = """
INSERT INTO client_connections (client_id, id, user_id, service_code, account_identifier, token_expires_at,
    encrypted_access_token, encrypted_refresh_token, encrypted_api_key)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (client_id, id) DO UPDATE SET
    account_identifier = EXCLUDED.account_identifier,
    token_expires_at = EXCLUDED.token_expires_at,
    encrypted_access_token = EXCLUDED.encrypted_access_token,
    encrypted_refresh_token = EXCLUDED.encrypted_refresh_token,
    encrypted_api_key = EXCLUDED.encrypted_api_key,
    updated_at = now()"""

SAVE_USER: Final = """
INSERT INTO users (client_id, id, email, name, role) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (client_id, id) DO UPDATE SET
    email = EXCLUDED.email, name = EXCLUDED.name, role = EXCLUDED.role, updated_at = now()
RETURNING (xmax = 0)"""

CLIENT: Final = "SELECT id FROM clients WHERE slug = %s"
LEDGER: Final = "SELECT array_agg(version) FROM schema_migrations"
USER_EXISTS: Final = "SELECT 1 FROM users WHERE client_id = %s AND id = %s AND is_active"
SERVICE_EXISTS: Final = "SELECT 1 FROM services WHERE code = %s"
