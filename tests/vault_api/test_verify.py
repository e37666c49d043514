"""The audit is verified as it was at one moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from otobotctl.vault_api import schema
from otobotctl.vault_api.audit import Entry
from otobotctl.vault_api.vault import Vault
from otobotctl.vault_api.verify import Verifier


def test_what_is_forgotten_meanwhile_is_no_loss(settings):
    """A deploy trims the audit between a verification's look at the chains and at their rows: nothing is missing."""
    schema.migrate(settings)

    class Meanwhile(Verifier):
        vault: Vault

        async def _chain(self, *given):
            with schema._connect(settings, 60) as owner:
                schema._forget(owner, replace(settings, audit_days=0))
            await self.vault.audit.record(Entry("later", "ok"))
            return await super()._chain(*given)

    async def run():
        vault = await Vault.open(settings)
        try:
            for _ in range(3):
                await vault.audit.record(Entry("before", "ok"))
            key = bytes.fromhex(settings.audit_key.reveal())
            verifier = Meanwhile(vault.database, key)
            verifier.vault = vault
            return await verifier.run(), await Verifier(vault.database, key).run()
        finally:
            await vault.close()

    during, after = asyncio.run(run())
    assert (during.broken, during.rows) == ((), 3)
    assert (after.broken, after.rows) == ((), 1)
