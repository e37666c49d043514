"""A month of IA Interne: a table, and one HTML page with a chart that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from otobotctl.cli import output
from otobotctl.cli.human import amounts, frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otobotctl.workflows.gpu.usage import Caller, Tokens, Usage

_DAYS, _WIDTH, _HEIGHT = 31, 18, 120
_HEAD = (
    "CLIENT", "PURPOSE", "REQUESTS", "REFUSED", "FAILED", "ANSWERED", "HALF IN", "95 % IN", "TOKENS IN", "TOKENS OUT",
)  # fmt: skip
_MODELS = ("CLIENT", "PURPOSE", "MODEL", "REQUESTS", "FAILED", "LEFT", "TOKENS IN", "TOKENS OUT", "NOT TOLD")
_NOTE = (
    "not told: requests whose tokens the engine did not tell (the caller left, or streams without"
    " stream_options.include_usage); their tokens in are missing, and those out are the pieces streamed"
)


def table(found: Usage) -> str:
    """A row for each caller, and one for each of its models."""
    rows = [_cells(each) for each in found.callers]
    said = f"{found.month}, {', '.join(found.hosts) or 'no GPU host'}\n{output.table(_HEAD, rows)}"
    models = [row for each in found.callers for row in _models(each)]
    if not models:
        return said
    note = f"\n{_NOTE}" if any(each.tokens.guessed for each in found.callers) else ""
    return f"{said}\n\n{output.table(_MODELS, models)}{note}"


def page(found: Usage) -> str:
    """The same as a page, with each caller's requests and tokens by day."""
    parts = [f"<p><strong>{escape(warning)}</strong></p>" for warning in found.warnings]
    parts.append(_table(_HEAD, [_cells(each) for each in found.callers]))
    models = [row for each in found.callers for row in _models(each)]
    if models:
        parts += [f"<h2>Models</h2>\n{_table(_MODELS, models)}", f"<p><small>{escape(_NOTE)}</small></p>"]
    for each in found.callers:
        parts.append(f"<h2>{escape(_name(each))}</h2>")
        parts.append(_chart("requests", {day: (count,) for day, count in each.by_day.items()}, ("good",)))
        if each.tokens_by_day:
            parts.append(_chart("tokens in (grey) and out", each.tokens_by_day, ("track", "good")))
    return frame.whole(f"IA Interne, {found.month}", f"{', '.join(found.hosts)}; days and month in UTC", parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return frame.table([escape(word.capitalize()) for word in head], [[escape(cell) for cell in row] for row in rows])


def _chart(what: str, days: Mapping[int, Sequence[int]], kinds: Sequence[str]) -> str:
    """Counts by day, one of each kind on top of the other; the highest bar is as high as the chart."""
    most = max((sum(counts) for counts in days.values()), default=0)
    bars = []
    for day in range(1, _DAYS + 1):
        left, top = (day - 1) * _WIDTH, float(_HEIGHT)
        counts = days.get(day, (0,) * len(kinds))
        for kind, count in zip(kinds, counts, strict=True):
            high = _HEIGHT * count / max(most, 1)
            top -= high
            bar = f'<rect class="{kind}" x="{left}" y="{top:.1f}" width="{_WIDTH - 4}" height="{high:.1f}">'
            bars.append(f"{bar}<title>{day}: {' + '.join(map(str, counts))}</title></rect>")
        bars.append(f'<text x="{left}" y="{_HEIGHT + 12}" font-size="10" fill="currentColor">{day}</text>')
    size = f"0 0 {_DAYS * _WIDTH} {_HEIGHT + 16}"
    label = f"{what} by day, {amounts.number(most)} at most"
    picture = f'<svg viewBox="{size}" role="img" aria-label="{escape(label)}">{"".join(bars)}</svg>'
    return f"<figure>{picture}<figcaption>{escape(label)}</figcaption></figure>"


def _cells(each: Caller) -> tuple[str, ...]:
    return (
        each.client or "(no key)",
        each.purpose or "-",
        str(each.requests),
        str(each.refused),
        str(each.tokens.failed),
        amounts.size(each.bytes),
        _took(each.half_s),
        _took(each.most_s),
        *_tokens(each.tokens),
    )


def _models(each: Caller) -> list[tuple[str, ...]]:
    return [
        (
            each.client,
            each.purpose or "-",
            model or "(refused)",
            str(tokens.requests),
            str(tokens.failed),
            str(tokens.left),
            *_tokens(tokens),
            str(tokens.guessed or "-"),
        )
        for model, tokens in each.by_model.items()
    ]


def _tokens(of: Tokens) -> tuple[str, str]:
    """In and out; at least so many where some were not told."""
    least = "> " if of.guessed else ""
    return (f"{least}{amounts.number(of.tokens_in)}", f"{'~ ' if of.guessed else ''}{amounts.number(of.tokens_out)}")


def _name(each: Caller) -> str:
    return f"{each.client}, {each.purpose}" if each.client else "without a key that is known"


def _took(seconds: float | None) -> str:
    return "longer" if seconds is None else f"{seconds:g} s"
