"""Taking a connection away: revoked at the provider where it has a way, then deleted whatever the provider says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from ..audit import Entry
from ..crypto import Place, SealError
from ..errors import missing
from . import applications, requests
from .lease import LEASE
from .outbound import OutboundError, Response

if TYPE_CHECKING:
    from ..connections import By
    from ..vault import Vault

REVOKE_S: Final = 10.0
Revoked = Literal["revoked", "not_revoked", "no_revocation"]

# Whatever the lease was, it is ours now: a refresh that runs loses its fence and cannot bring the row back.
_TAKE: Final = """
UPDATE client_connections SET lease = lease + 1, lease_until = now() + %s
WHERE client_id = %s AND id = %s AND is_active AND (user_id = %s OR %s::uuid IS NULL)
RETURNING lease, user_id, service_code, oauth_app_id, parameters, encrypted_access_token, encrypted_refresh_token,
    encrypted_next_refresh_token"""

# Left to whoever has taken the lease since: the user may have connected anew, and that is another grant.
_DELETE: Final = "DELETE FROM client_connections WHERE client_id = %s AND id = %s AND lease = %s"


async def disconnect(vault: Vault, connection: UUID, by: By, *, user: UUID | None = None) -> Revoked:
    """Revoke and delete an active connection (with `user`: only one of that user's); one made meanwhile stays.

    Raises:
        Problem: 404, there is no such connection.
    """
    client = await vault.database.client()
    async with vault.database.connection() as wire:
        row = await (await wire.execute(_TAKE, (LEASE, client, connection, user, user))).fetchone()
    if row is None:
        raise missing("connection")
    lease, owner, service, app, parameters, *sealed = row
    outcome = await _revoke(vault, connection, owner, service, app, parameters, sealed)
    async with vault.audit.transaction() as change:
        deleted = (await change.connection.execute(_DELETE, (client, connection, lease))).rowcount
        about = {} if deleted else {"row": "left"}
        change.note(Entry("disconnect", outcome, by.actor, owner, service, connection, by.request, by.address, about))
    return outcome


async def _revoke(
    vault: Vault,
    connection: UUID,
    user: UUID,
    service: str,
    app: UUID | None,
    parameters: dict[str, str],
    sealed: list[str | None],
) -> Revoked:
    provider = vault.providers.get(service)
    if provider is None or provider.revocation is None:
        return "no_revocation"
    columns = ("encrypted_access_token", "encrypted_refresh_token", "encrypted_next_refresh_token")
    try:
        access, refresh, following = (
            text and vault.keyring.open(text, Place(vault.settings.client, str(user), service, str(connection), column))
            for column, text in zip(columns, sealed, strict=True)
        )
        application = await applications.find(vault, service, app)
    except SealError:
        return "not_revoked"
    if application is None:
        return "not_revoked"
    tokens = {"access": access, "refresh": following or refresh}
    request = requests.revocation(provider, parameters, application.client, tokens)
    if request is None:
        return "not_revoked"
    try:
        answer = await vault.outbound.send(request, total_s=REVOKE_S)
    except OutboundError:
        return "not_revoked"
    return "revoked" if _taken(answer) else "not_revoked"


def _taken(answer: Response) -> bool:
    # Slack says 200 to a refusal as well.
    return answer.status < 300 and b'"ok":false' not in answer.body.replace(b" ", b"")[:4096]  # noqa: PLR2004
