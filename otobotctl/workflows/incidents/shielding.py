"""Addresses held off, hosts isolated and opened again."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl import person
from otobotctl.errors import UsageError
from otobotctl.plan.kinds.login import LoginSpec
from otobotctl.plan.kinds.shield import Block, ShieldSpec, canonical
from otobotctl.plan.model import Stage, Step
from otobotctl.transport.local import LOCAL
from otobotctl.workflows import fleetwide
from otobotctl.workflows.converging import opener, told
from otobotctl.workflows.desired import load
from otobotctl.workflows.incidents.acting import Acted, acted, acting, ledger_for
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from otobotctl.agent.protocol import Question
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.selection import Selection

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_PUBLIC = (80, 443)


def seconds(text: str) -> int:
    """How long `24h`, `30m`, `7d` or `forever` (0) is. Raises UsageError."""
    if text == "forever":
        return 0
    found = re.fullmatch(r"([1-9]\d{0,4})([mhd])", text)
    if not found:
        raise UsageError(f"{text} is no time", hint="such as 30m, 24h, 7d, or forever")
    return int(found[1]) * _UNITS[found[2]]


def block(
    fleet: Fleet,
    addresses: Sequence[str],
    selection: Selection,
    lasting_s: int,
    listener: Listener,
    *,
    incident: str | None = None,
    password: Password | None = None,
) -> Acted:
    """Hold addresses or networks off these hosts, Docker's published ports included, for so many seconds (0: for good).

    Raises:
        UsageError: an address is none, or holds the operator's own or a host's.
        PartialError: some hosts could not be done.
    """
    loaded = load(fleet)
    hosts = selection.of(loaded.manifest)
    wanted = tuple(dict.fromkeys(_canonical(each) for each in addresses))
    until = int(time.time()) + lasting_s if lasting_s else 0
    # Asked first: what would shut the operator out is refused before anything is written down or done anywhere.
    seen = _facts(loaded, hosts, listener, password)
    for host, facts in seen.items():
        for each in wanted:
            _refuse(each, host, [*filter(None, [facts["_client"]]), *facts["_own"], "127.0.0.1", "::1"])
    subject = f"{', '.join(wanted)} on {', '.join(hosts)}"
    ledger = ledger_for(fleet, incident, f"unauthorised access from {', '.join(wanted)}")
    ends = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds") if until else "until released"
    with acting(ledger, "block-ip", subject, until=ends) as act:
        spec = ShieldSpec(blocked=tuple(Block(address=each, until=until) for each in wanted))
        _everywhere(loaded, {host: _spared(spec, seen[host]) for host in hosts}, listener, password)
        act.details.update(addresses=list(wanted), hosts=list(hosts), until=ends)
        vaults = (client.slug for host in hosts for client in loaded.manifest.clients_of(host))
        act.remaining += [
            f"find out what {', '.join(wanted)} did: otobotctl vault audit export {slug} {slug}-audit.jsonl"
            for slug in vaults
        ]
        act.remaining.append(f"look at the proxy's log for {', '.join(wanted)} on {', '.join(hosts)}")
        where = " ".join(f"--host {host}" for host in hosts)
        exposed = f"otobotctl incident rotate-exposed {where} --incident {ledger.name}"
        act.remaining.append(f"exchange what may have been seen: {exposed}")
    return acted(ledger, "block-ip", subject, act)


def isolate(
    fleet: Fleet,
    name: str,
    friends: Sequence[str],
    trial_s: int,
    listener: Listener,
    *,
    incident: str | None = None,
    password: Password | None = None,
) -> Acted:
    """Shut a host but for SSH from `friends` and from where the operator is; nothing else goes in or out.

    On trial: where no new login comes in within `trial_s` seconds, the host opens again by itself.
    """
    loaded = load(fleet)
    host = loaded.manifest.host(name)
    others = tuple(dict.fromkeys(_canonical(each) for each in friends))
    facts = _facts(loaded, (name,), listener, password)[name]
    allowed = tuple(dict.fromkeys((*filter(None, [facts["_client"]]), *others)))
    if not allowed:
        raise UsageError(f"nobody could come into {name} any more", hint="say from where: --from ADDRESS")
    ledger = ledger_for(fleet, incident, f"{name} is isolated")
    with acting(ledger, "isolate", name, allowed=list(allowed)) as act:
        spec = _spared(ShieldSpec(isolate=allowed, trial_s=trial_s), facts)
        _everywhere(loaded, {name: spec}, listener, password, login=True)
        act.details.update(allowed=list(allowed), answering=_answering(host.address))
        act.remaining += [
            f"tell the clients of {name} that their services are down: "
            + (", ".join(client.email for client in loaded.manifest.clients_of(name)) or "there are none"),
            f"keep the evidence before you clean up: a snapshot of {name} at its provider",
            *(
                f"and an archive of each client: otobotctl client export {client.slug} --out {client.slug}.zip.age"
                for client in loaded.manifest.clients_of(name)
            ),
            f"open it again when it is clean: otobotctl incident release {name} --incident {ledger.name}",
        ]
    return acted(ledger, "isolate", name, act)


def release(
    fleet: Fleet,
    name: str,
    addresses: Sequence[str],
    listener: Listener,
    *,
    every: bool = False,
    incident: str | None = None,
    password: Password | None = None,
) -> Acted:
    """Open a host again; or let these addresses in again; or both and every address (`every`)."""
    loaded = load(fleet)
    loaded.manifest.host(name)
    facts = _facts(loaded, (name,), listener, password)[name]
    held = tuple(facts["blocked"])
    wanted = held if every else tuple(dict.fromkeys(_canonical(each) for each in addresses))
    unknown = [each for each in wanted if each not in held]
    if unknown:
        hint = f"held off are: {', '.join(held)}" if held else "no address is held off there"
        raise UsageError(f"{name} does not hold off {', '.join(unknown)}", hint=hint)
    opens = every or not addresses
    if opens and not every and facts["isolated"] is None and not facts["restored"]:
        raise UsageError(
            f"{name} is not isolated", hint=f"to let addresses in: otobotctl incident release {name} --all"
        )
    subject = ", ".join((*([name] if opens else []), *(f"{each} on {name}" for each in wanted)))
    ledger = ledger_for(fleet, incident, f"{name} is released")
    with acting(ledger, "release", subject) as act:
        spec = _spared(ShieldSpec(freed=wanted, release=opens), facts)
        _everywhere(loaded, {name: spec}, listener, password)
        act.details.update(
            opened=opens, addresses=list(wanted), answering=_answering(loaded.manifest.host(name).address)
        )
        act.remaining.append(f"see that it is well: otobotctl doctor {name}")
    return acted(ledger, "release", subject, act)


def _facts(
    loaded: Loaded, hosts: Sequence[str], listener: Listener, password: Password | None
) -> dict[str, Mapping[str, Any]]:
    """What the shields of these hosts say. Raises what the hosts that cannot be asked amount to."""
    from otobotctl.converge import engine

    def ask(name: str, _listener: Listener) -> Mapping[str, Any]:
        question: Question = {"kind": "shield", "params": {}}
        return told(engine.ask(opener(loaded, name), [question], password=password), name, "its shield")

    outcomes = each_host(tuple(hosts), ask, Limits(), listener)
    if error := fleetwide.failure(outcomes):
        raise error
    return {each.host: each.result for each in outcomes if each.result is not None}


def _everywhere(
    loaded: Loaded,
    specs: Mapping[str, ShieldSpec],
    listener: Listener,
    password: Password | None,
    *,
    login: bool = False,
) -> None:
    from otobotctl.converge import engine

    who = person.name()

    def apply(name: str, heard: Listener) -> bool:
        stages = [Stage("incident", (Step("incident/shield", specs[name]),))]
        if login:
            stages.append(Stage("login", (Step("login/again", LoginSpec()),)))
        return bool(
            engine.converge_host(opener(loaded, name), stages, who=who, listener=heard, password=password).changed
        )

    outcomes = each_host(tuple(specs), apply, Limits(), listener)
    if error := fleetwide.failure(outcomes):
        raise error


def _spared(spec: ShieldSpec, facts: Mapping[str, Any]) -> ShieldSpec:
    import msgspec

    client = facts["_client"]
    return msgspec.structs.replace(spec, spared=(client,) if client else ())


def _refuse(block: str, host: str, spared: Sequence[str]) -> None:
    network = ipaddress.ip_network(block)
    for address in spared:
        found = ipaddress.ip_address(address)
        mapped = getattr(found, "ipv4_mapped", None) or found
        if mapped in network:
            raise UsageError(
                f"{block} would hold off {address}, which is your own way into {host} or the host itself",
                hint="nothing was done; name a smaller network",
            )


def _answering(address: str) -> list[int]:
    """Which of the proxy's ports still answer from this machine."""
    from otobotctl.transport import outside

    if address == LOCAL:
        return []
    targets = outside.resolve([address])[address] or ()
    found = outside.ports((target, port) for target in targets for port in _PUBLIC)
    return sorted({port for (_, port), answers in found.items() if answers})


def _canonical(address: str) -> str:
    try:
        return canonical(address)
    except ValueError:
        raise UsageError(f"{address} is no address or network", hint="such as 198.51.100.7 or 2001:db8::/48") from None
