"""The workflows that users may start."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from ... import contract_admin as shapes
from ...endpoint import Answer, Call, Endpoint
from ...errors import missing, taken
from .common import ADMIN, FORBIDDEN, GONE, TAKEN, entry, seen

_LIST: Final = """
SELECT id, name, description, webhook_path FROM workflows WHERE client_id = %s AND is_active ORDER BY name"""
_NEW: Final = """
INSERT INTO workflows (client_id, name, description, webhook_path) VALUES (%s, %s, %s, %s)
RETURNING id, name, description, webhook_path"""
_REMOVE: Final = "DELETE FROM workflows WHERE client_id = %s AND id = %s RETURNING name"


async def listed(call: Call) -> shapes.WorkflowList:
    """Every workflow with its webhook path."""
    rows = await call.vault.database.all(_LIST, (await call.vault.database.client(),))
    await seen(call, "workflows")
    return shapes.WorkflowList(workflows=[_state(row) for row in rows])


async def create(call: Call) -> shapes.WorkflowState:
    """Add a workflow."""
    body: shapes.NewWorkflow = call.body
    values = (await call.vault.database.client(), body.name, body.description, body.webhook_path)
    try:
        async with call.vault.audit.transaction() as tx:
            row = await (await tx.connection.execute(_NEW, values)).fetchone()
            assert row is not None  # noqa: S101 - RETURNING of an INSERT
            tx.note(entry(call, "workflow", "created", workflow=str(row[0])))
    except psycopg.errors.UniqueViolation:
        raise taken("workflow") from None
    return _state(row)


async def remove(call: Call) -> Answer:
    """Remove a workflow."""
    client, workflow = await call.vault.database.client(), call.id("workflow")
    async with call.vault.audit.transaction() as tx:
        if await (await tx.connection.execute(_REMOVE, (client, workflow))).fetchone() is None:
            raise missing("workflow")
        tx.note(entry(call, "workflow", "deleted", workflow=str(workflow)))
    return Answer(204)


def _state(row: tuple[Any, ...]) -> shapes.WorkflowState:
    return shapes.WorkflowState(id=str(row[0]), name=row[1], description=row[2], webhook_path=row[3])


_WRITE: Final[dict[str, Any]] = {**ADMIN, "scope": "workflows.write"}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET", shapes.ADMIN_WORKFLOWS_PATH, "admin_workflows", listed, summary="Every workflow.",
        answer=shapes.WorkflowList, statuses=FORBIDDEN, **_WRITE,
    ),
    Endpoint(
        "POST", shapes.ADMIN_WORKFLOWS_PATH, "workflow_create", create, summary="Add a workflow.",
        body=shapes.NewWorkflow,
        answer=shapes.WorkflowState, status=201, statuses=TAKEN, **_WRITE,
    ),
    Endpoint(
        "DELETE", shapes.ADMIN_WORKFLOW_PATH, "workflow_remove", remove, summary="Remove a workflow.", answer=None,
        status=204, statuses=GONE, **_WRITE,
    ),
)  # fmt: skip
