"""The vault's database has every migration of this installation, none that was altered, and no newer one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix, Query

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient
    from otobotctl.render.catalog import Catalog

_SQL = "SELECT version, checksum FROM vault.schema_migrations ORDER BY version"
_FOLDER = "/migrations/"


def _query(client: str) -> Query:
    return Query(client, "otobot_frontend", _SQL)


def queries(client: ResolvedClient) -> Iterable[Query]:
    """The vault's own ledger."""
    return (_query(client.slug),) if "vault-api" in client.services else ()


def bundled(catalog: Catalog) -> Mapping[int, str]:
    """Checksums by version of what the vault's image is built with."""
    files = catalog.images["vault-api"].files if "vault-api" in catalog.images else {}
    return {
        int(path.rpartition("/")[2][:4]): hashlib.sha256(content).hexdigest()
        for path, content in files.items()
        if _FOLDER in path and path.endswith(".sql")
    }


def judge(case: Case) -> Iterator[Finding]:
    """Migrations that are missing, of another content, or of a newer installation."""
    ships = bundled(case.catalog)
    for client in case.clients:
        rows = case.rows(_query(client.slug)) if "vault-api" in client.services else None
        if rows is None:
            answer = case.answers.get(_query(client.slug))
            if isinstance(answer, str) and "does not exist" in answer:
                yield _behind(client.slug, "the vault's schema is not there")
            continue
        done = {int(version): checksum for version, checksum in rows}
        missing = sorted(ships.keys() - done.keys())
        altered = sorted(version for version in ships.keys() & done.keys() if ships[version] != done[version])
        newer = sorted(done.keys() - ships.keys())
        if missing:
            yield _behind(client.slug, f"the vault's schema lacks migration {', '.join(map(str, missing))}")
        if altered:
            yield Finding(
                "critical",
                f"{client.slug}/vault-api",
                f"migration {', '.join(map(str, altered))} of the vault was applied with other contents",
                f"otobotctl vault audit verify {client.slug}; then find out whose installation deployed it",
            )
        if newer:
            yield Finding(
                "warning",
                f"{client.slug}/vault-api",
                f"the vault's schema has migration {', '.join(map(str, newer))}, which this otobotctl does not know",
                "bring this installation up to date",
            )


def _behind(client: str, seen: str) -> Finding:
    fix = Fix(f"migrate the vault of {client}", (steps.run_again(client, "vault-migrate"),))
    return Finding("critical", f"{client}/vault-api", seen, f"otobotctl client deploy {client}", fix)


CHECK = Check("schema", "The vault's schema is this installation's.", judge, queries=queries)
