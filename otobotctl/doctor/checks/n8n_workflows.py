"""No workflow of n8n keeps what it carries, holds a token, or asks the vault for one as an item.

n8n is told to keep nothing, but a workflow's own settings win; what is pinned or typed into a node is always kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from otobotctl.doctor.model import Case, Check, Finding, Query, Severity
from otobotctl.render import names

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient

# Shapes of tokens; what begins with = is an expression. Quotes may be escaped: JSON inside a text.
_SHAPES: Final = (
    r"(accessToken|access_token|refreshToken|refresh_token|apiKey|api_key)\\*\"\s*:\s*\\*\"[^\"={\\][^\"\\]{7,}"
    r"|Bearer [A-Za-z0-9._~+/-]{16,}|ya29\.[A-Za-z0-9_-]{10,}|xox[abeprs]-[A-Za-z0-9-]{10,}|ntn_[A-Za-z0-9]{16,}"
    r"|secret_[A-Za-z0-9]{24,}|gh[opsu]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{20,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ"
)
# One row a kind of thing found in a workflow, with its settings or nodes. No value leaves the host.
QUESTION: Final = f"""
WITH flow AS (
  SELECT w.id::text AS id, left(regexp_replace(w.name, '[[:cntrl:]]', '', 'g'), 80) AS name,
    w.nodes::text::jsonb AS nodes,
    coalesce(w.settings::text, '{{}}')::jsonb AS settings, coalesce(w."pinData"::text, '{{}}')::jsonb AS pinned,
    w.nodes::text ~ 'n8n-nodes-otobot|otobotCredentialFetcher|otobotServiceApi|otobotDatabaseApi' AS asks
  FROM workflow_entity w WHERE coalesce(to_jsonb(w)->>'isArchived', 'false') <> 'true'
), node AS (
  SELECT f.id, n.value AS it, left(regexp_replace(n.value->>'name', '[[:cntrl:]]', '', 'g'), 80) AS called
  FROM flow f CROSS JOIN LATERAL jsonb_array_elements(f.nodes) n
), seen AS (
  SELECT f.id, 'saves' AS kind, s.key AS what FROM flow f CROSS JOIN LATERAL jsonb_each_text(
      CASE jsonb_typeof(f.settings) WHEN 'object' THEN f.settings ELSE '{{}}' END) s
    WHERE s.key ~ '^save(DataSuccessExecution|DataErrorExecution|ManualExecutions|ExecutionProgress)$'
      AND s.value IN ('all', 'true')
  UNION ALL SELECT f.id, 'pinned', left(regexp_replace(p.key, '[[:cntrl:]]', '', 'g'), 80)
    FROM flow f CROSS JOIN LATERAL jsonb_each(
      CASE jsonb_typeof(f.pinned) WHEN 'object' THEN f.pinned ELSE '{{}}' END) p
    WHERE p.value::text ~ $token${_SHAPES}$token$
  UNION ALL SELECT id, 'typed', called FROM node WHERE (it->'parameters')::text ~ $token${_SHAPES}$token$
  UNION ALL SELECT id, 'exposes', called FROM node WHERE it->>'type' ~ 'otobotCredentialFetcher$'
    AND it->'parameters'->>'operation' = 'getUserCredentials' AND it->>'disabled' IS DISTINCT FROM 'true'
)
SELECT f.id, f.name, f.asks, s.kind, string_agg(s.what, ', ' ORDER BY s.what)
FROM flow f JOIN seen s ON s.id = f.id GROUP BY f.id, f.name, f.asks, s.kind ORDER BY f.name, f.id, s.kind LIMIT 500"""  # noqa: S608

_SEEN: Final = {
    "saves": "keeps its data: {what}",
    "pinned": "has what looks like a token in the pinned data of {what}",
    "typed": "has what looks like a token written into {what}",
    "exposes": "takes credentials as items in {what}",
}
_REMEDY: Final = {
    "saves": "in its settings choose Do not save, four times",
    "pinned": "unpin it, save, and replace the token: it is in n8n's database and in its archives",
    "typed": "let the user connect the service and use Call Service API; replace the token: it is in n8n's database",
    "exposes": "use Call Service API of the same node instead (docs/n8n.md)",
}


def _query(client: str) -> Query:
    return Query(client, "otobot_n8n", QUESTION)


def queries(client: ResolvedClient) -> Iterable[Query]:
    """Names and kinds; no value of any workflow."""
    return (_query(client.slug),) if "n8n" in client.services else ()


def judge(case: Case) -> Iterator[Finding]:
    """What of each workflow could leave a token in n8n's database, and what already lies there."""
    for client in case.clients:
        rows = case.rows(_query(client.slug)) if "n8n" in client.services else None
        if not rows:
            continue
        url = names.place_of(client, case.catalog.service("n8n")).url
        saving = {identity for identity, _, _, kind, _ in rows if kind == "saves"}
        for identity, name, asks, kind, what in rows:
            yield Finding(
                _severity(kind, asks=asks == "t", saved=identity in saving),
                f"{client.slug}/n8n",
                f"workflow “{name}” {_SEEN[kind].format(what=what)}",
                f"open {url}/workflow/{identity} and {_REMEDY[kind]}",
            )


def _severity(kind: str, *, asks: bool, saved: bool) -> Severity:
    """A token that lies there, or will at the next run, is critical; what needs one more mistake is a warning."""
    if kind == "saves":
        return "warning" if asks else "info"
    return "critical" if kind != "exposes" or saved else "warning"


CHECK = Check("n8n_workflows", "No workflow keeps a token.", judge, queries=queries)
