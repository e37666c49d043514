"""IA Interne in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from otobotctl.cli import output
from otobotctl.cli.human import amounts

if TYPE_CHECKING:
    from otobotctl.workflows.gpu.bench import Bench
    from otobotctl.workflows.gpu.keys import Changed, Key
    from otobotctl.workflows.gpu.models import Model
    from otobotctl.workflows.gpu.status import Card, GpuStatus
    from otobotctl.workflows.gpu.traffic import Asker, Flight

_ASKERS = ("CLIENT", "PURPOSE", "NOW", "LAST HOUR", "TOKENS", "SINCE 00:00 UTC", "TOKENS", "FAILED")


def models(rows: Sequence[Model]) -> str:
    """The models of a host."""
    cells = [(row.name, _size(row.size_bytes), _standing(row), _memory(row), row.digest or "-") for row in rows]
    return output.table(("MODEL", "SIZE", "", "IN MEMORY", "DIGEST"), cells)


def status(hosts: Sequence[GpuStatus]) -> str:
    """Each host: its cards, its models, its room."""
    return "\n\n".join(_host(each) for each in hosts) or "the fleet has no GPU host"


def _host(found: GpuStatus) -> str:
    if found.error is not None:
        return f"{found.host}: could not be asked"
    free = found.disk["free"]
    room = f"memory {amounts.used(found.memory)}, {_size(free)} of disk free"
    engine = {"ollama": "Ollama", "vllm": "vLLM"}[found.engine]
    lines = [f"{found.host}: {engine} {found.version or 'does not answer'}; {room}"]
    if found.running is not None:
        lines.append(f"requests: {found.running} running, {found.waiting or 0} waiting")
    if found.cards:
        head = ("CARD", "DRIVER", "MEMORY", "USE", "TEMPERATURE", "POWER")
        lines.append(output.table(head, [_card(each) for each in found.cards]))
    if found.models:
        lines.append(models(found.models))
    lines += [_flight(each) for each in found.flights]
    if found.askers:
        lines.append(output.table(_ASKERS, [_asker(each) for each in found.askers]))
    return "\n".join(lines)


def _flight(each: Flight) -> str:
    waiting = f", {each.waiting} of them wait for their turn" if each.waiting else ""
    return f"{each.model or 'a model not told yet'}: {each.requests} under way{waiting}"


def _asker(each: Asker) -> tuple[str, ...]:
    told = [(str(span.requests), amounts.number(span.tokens_in + span.tokens_out)) for span in (each.hour, each.day)]
    return (each.client, each.purpose, str(each.in_flight), *told[0], *told[1], str(each.day.failed or "-"))


def _card(card: Card) -> tuple[str, ...]:
    memory = f"{_told(card.used_mib)} of {_told(card.memory_mib)} MiB"
    power = f"{_told(card.watts)} of {_told(card.limit_watts)} W"
    return (card.name, card.driver, memory, f"{_told(card.use)} %", f"{_told(card.celsius)} C", power)


def _told(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def bench(found: Bench) -> str:
    """A row for each model and number of callers."""
    head = ("MODEL", "CALLERS", "TOKENS/S", "EACH", "FIRST TOKEN", "AT MOST", "FAILED")
    rows = [
        (
            each.model,
            str(each.callers),
            f"{each.tokens_s:.1f}",
            f"{each.each_tokens_s:.1f}",
            _seconds(each.first_s),
            _seconds(each.first_most_s),
            str(each.failed or "-"),
        )
        for each in found.speeds
    ]
    loads = ", ".join(f"{model} {_seconds(took)}" for model, took in found.load_s.items())
    return f"{output.table(head, rows)}\nuntil the first answer, loading included: {loads}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def keys(rows: Sequence[Key]) -> str:
    """Who may ask."""
    cells = [
        (row.client, row.purpose, row.state, row.created[:10] or "-", _limit(row.per_minute), ",".join(row.hosts))
        for row in rows
    ]
    return output.table(("CLIENT", "PURPOSE", "STATE", "SINCE", "A MINUTE", "HOSTS"), cells)


def changed(done: Changed, what: str) -> str:
    """A key that changed."""
    said = f"{done.client}, {done.purpose}: {what} on {', '.join(done.hosts)}"
    return f"{said}\nnext: {done.next}" if done.next else said


def _standing(row: Model) -> str:
    if row.size_bytes is None:
        return "missing"
    return "" if row.wanted else "not in the manifest"


def _memory(row: Model) -> str:
    """What it takes, and how much of that is not on the cards: there it is slow."""
    if row.loaded_bytes is None:
        return "-"
    aside = row.loaded_bytes - (row.on_cards_bytes or 0)
    taken = amounts.size(row.loaded_bytes)
    return taken if aside <= 0 else f"{taken}, {aside / max(row.loaded_bytes, 1):.0%} on the processor"


def _size(count: int | None) -> str:
    return "-" if count is None else amounts.size(count)


def _limit(per_minute: int) -> str:
    return str(per_minute) if per_minute else "-"
