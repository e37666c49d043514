"""A month of IA Interne: a table, and one HTML page with a chart that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from otobotctl.cli import output
from otobotctl.cli.human import amounts, frame

if TYPE_CHECKING:
    from otobotctl.workflows.gpu.usage import Caller, Usage

_DAYS, _WIDTH, _HEIGHT = 31, 18, 120
_HEAD = ("CLIENT", "PURPOSE", "REQUESTS", "REFUSED", "ANSWERED", "HALF IN", "95 % IN")


def table(found: Usage) -> str:
    """A row for each caller."""
    rows = [_cells(each) for each in found.callers]
    return f"{found.month}, {', '.join(found.hosts) or 'no GPU host'}\n{output.table(_HEAD, rows)}"


def page(found: Usage) -> str:
    """The same as a page, with each caller's requests by day."""
    rows = [[escape(cell) for cell in _cells(each)] for each in found.callers]
    parts = [frame.table([escape(word.capitalize()) for word in _HEAD], rows)]
    parts += [f"<h2>{escape(_name(each))}</h2>\n{_chart(each)}" for each in found.callers]
    return frame.whole(f"IA Interne, {found.month}", f"{', '.join(found.hosts)}; days and month in UTC", parts)


def _chart(caller: Caller) -> str:
    """Requests by day, the highest bar as high as the chart."""
    most = max(caller.by_day.values(), default=1)
    bars = []
    for day in range(1, _DAYS + 1):
        count = caller.by_day.get(day, 0)
        high = round(_HEIGHT * count / most)
        left, top = (day - 1) * _WIDTH, _HEIGHT - high
        bar = f'<rect class="good" x="{left}" y="{top}" width="{_WIDTH - 4}" height="{high}">'
        bars.append(f"{bar}<title>{day}: {count}</title></rect>")
        bars.append(f'<text x="{left}" y="{_HEIGHT + 12}" font-size="10" fill="currentColor">{day}</text>')
    size = f"0 0 {_DAYS * _WIDTH} {_HEIGHT + 16}"
    return f'<svg viewBox="{size}" role="img" aria-label="requests by day, {most} at most">{"".join(bars)}</svg>'


def _cells(each: Caller) -> tuple[str, ...]:
    client = each.client or "(no key)"
    refused, answered = str(each.refused), amounts.size(each.bytes)
    return (client, each.purpose or "-", str(each.requests), refused, answered, _took(each.half_s), _took(each.most_s))


def _name(each: Caller) -> str:
    return f"{each.client}, {each.purpose}" if each.client else "without a key that is known"


def _took(seconds: float | None) -> str:
    return "longer" if seconds is None else f"{seconds:g} s"
