"""The fleet's state as one HTML page: no script, no font, no picture from anywhere; bars are SVG inside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from otobotctl.cli.human import amounts, frame
from otobotctl.cli.human import status as words

if TYPE_CHECKING:
    from otobotctl.workflows.status import HostStatus, Release, Status

_WARN, _FULL = 0.7, 0.85  # shares at which a bar changes its colour
_CERTIFICATE_SPAN_DAYS = 90.0  # Let's Encrypt's


def page(found: Status) -> str:
    """Return the page, whole."""
    title = f"{found.company}: {amounts.many(len(found.hosts), 'host')}"
    parts = [
        *_attention(found),
        "<h2>Hosts</h2>",
        frame.table(
            ("Host", "State", "Up", "Load", "Memory", "Disks", "Last run"), (_host(each) for each in found.hosts)
        ),
        *_clients(found.hosts),
    ]
    return frame.whole(title, found.at, parts)


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
    return ["<h2>Clients</h2>", frame.table(head, rows)] if rows else []


def _host(host: HostStatus) -> tuple[str, ...]:
    name = f"{escape(host.host)}<small>{escape(host.address)}</small>"
    state = frame.state(host.state, host.state)
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
