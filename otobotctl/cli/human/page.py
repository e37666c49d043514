"""The fleet's state as one HTML page: no script, no font, no picture from anywhere; bars are SVG inside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from otobotctl.cli.human import amounts
from otobotctl.cli.human import status as words

if TYPE_CHECKING:
    from otobotctl.workflows.status import HostStatus, Release, Status

_WARN, _FULL = 0.7, 0.85  # shares at which a bar changes its colour
_CERTIFICATE_SPAN_DAYS = 90.0  # Let's Encrypt's
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #23793f; --warn: #966200; --bad: #c8332f; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --quiet: #a0a0a0; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.at { color: var(--quiet); margin-top: .2rem; } ul { padding-left: 1.2rem; overflow-wrap: anywhere; }
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
"""


def page(found: Status) -> str:
    """Return the page, whole."""
    title = f"{found.company}: {len(found.hosts)} host{'s' if len(found.hosts) != 1 else ''}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f'<h1>{escape(title)}</h1>\n<p class="at">{escape(found.at)}</p>',
            *_attention(found),
            "<h2>Hosts</h2>",
            _table(
                ("Host", "State", "Up", "Load", "Memory", "Disks", "Last run"), (_host(each) for each in found.hosts)
            ),
            *_clients(found.hosts),
            "</body>\n</html>\n",
        ]
    )


def bar(share: float, label: str, *, colour: str = "") -> str:
    """An SVG bar that is full at 1, with its meaning for screen readers and a tooltip."""
    taken = min(max(share, 0.0), 1.0)
    colour = colour or ("bad" if taken >= _FULL else "warn" if taken >= _WARN else "good")
    return (
        f'<svg width="120" height="10" role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f'<rect class="track" width="120" height="10" rx="3"/>'
        f'<rect class="{colour}" width="{taken * 120:.1f}" height="10" rx="3"/></svg>'
    )


def _attention(found: Status) -> list[str]:
    lines = [f"<li><b>{escape(h.host)}</b>: {escape(line)}</li>" for h in found.hosts for line in h.attention]
    lines += [f"<li>{escape(warning)}</li>" for warning in found.warnings]
    return ["<h2>To look at</h2>\n<ul>", *lines, "</ul>"] if lines else []


def _clients(hosts: Sequence[HostStatus]) -> list[str]:
    rows = [_release(host, release) for host in hosts for release in host.releases]
    head = ("Client", "Host", "Release", "Containers", "Certificate", "Secrets", "Last archive")
    return ["<h2>Clients</h2>", _table(head, rows)] if rows else []


def _host(host: HostStatus) -> tuple[str, ...]:
    name = f"{escape(host.host)}<small>{escape(host.address)}</small>"
    state = f'<span class="state {host.state}">{host.state}</span>'
    machine = host.machine
    if machine is None:
        return (name, state, "", "", "", "", "")
    load = f"{machine['load'][0]:g} of {machine['cpus']} CPUs"
    return (
        f"{name}<small>{escape(machine['system'])}</small>",
        state,
        amounts.duration(machine["uptime_s"]),
        f"{bar(machine['load'][0] / (machine['cpus'] or 1), load)}<small>{load}</small>",
        _share(machine["memory"], amounts.used(machine["memory"])),
        "".join(_share(disk, amounts.fullest([disk])) for disk in machine["disks"]),
        escape(words.last_run(host.last)),
    )


def _share(of: dict[str, float], text: str) -> str:
    taken = amounts.share(of)
    return "" if taken is None else f"{bar(taken, text)}<small>{escape(text)}</small>"


def _release(host: HostStatus, release: Release) -> tuple[str, ...]:
    from otobotctl.workflows import judging

    certificate = escape(words.certificate(release))
    if release.certificate_days is not None:
        left = release.certificate_days / _CERTIFICATE_SPAN_DAYS
        colour = "bad" if release.certificate_days <= 0 else "warn" if release.certificate_due else "good"
        certificate = f"{bar(left, words.certificate(release), colour=colour)}<small>{certificate}</small>"
    return (
        escape(release.client),
        f'<span class="name">{escape(host.host)}</span>',
        escape(words.release_words(release)),
        escape(words.containers(release)),
        certificate,
        escape(", ".join(f"{each.name} {judging.due(each.days)}" for each in release.secrets_due) or "-"),
        escape(words.last_archive(release)),
    )


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = ['<div class="wide"><table>', "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table></div>"])
