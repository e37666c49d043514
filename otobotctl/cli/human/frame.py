"""What every HTML page of otobotctl has: one file, no script, no font, no picture from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #23793f; --warn: #966200; --bad: #c8332f; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --quiet: #a0a0a0; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.at { color: var(--quiet); margin-top: .2rem; } ul, ol { padding-left: 1.2rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid var(--line); padding: .35rem .6rem;
text-align: left; vertical-align: top; }
th, td:first-child, .name { white-space: nowrap; } th { font-weight: 600; }
td small { color: var(--quiet); display: block; }
.state { border-radius: .6rem; color: #fff; padding: 0 .6rem; white-space: nowrap; }
.well { background: var(--good); } .attention { background: var(--warn); } .unreachable,
.failed { background: var(--bad); }
svg { display: block; margin-top: .35rem; } .track { fill: var(--line); } .good { fill: var(--good); }
.warn { fill: var(--warn); }
.bad { fill: var(--bad); }
@media print { body { margin: 0; max-width: none; } h2, tr { break-inside: avoid; } }
"""


def whole(title: str, at: str, parts: Iterable[str]) -> str:
    """Return a page: its title, when it was made, and parts that are HTML already."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f'<h1>{escape(title)}</h1>\n<p class="at">{escape(at)}</p>',
            *parts,
            "</body>\n</html>\n",
        ]
    )


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = ['<div class="wide"><table>', "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table></div>"])


def state(word: str, kind: str) -> str:
    """A word on a colour: `kind` is well, attention or failed."""
    return f'<span class="state {kind}">{escape(word)}</span>'
