"""ufw: what may come in; SSH always may."""

from __future__ import annotations

from typing import Any, Dict, List, Set

from otobotctl.agent import files, sshd, trial, ufw
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask, has

TRIAL = "firewall"
_CHAINS = {
    4: ("iptables", "ufw-user-input", "ufw-before-input"),
    6: ("ip6tables", "ufw6-user-input", "ufw6-before-input"),
}


def probe(_params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer what ufw is told and what the kernel does.

    installed, ipv6, enabled (at boot), active (the kernel filters now), loaded (the kernel has as many rules as
    the files); incoming, outgoing (drop, reject or accept); allowed: rules that let in, in every family;
    owned: rules that are ours; restored: when a firewall on trial was switched off again, or "";
    _ssh: ports SSH comes in by. A rule is written "80/tcp from any".
    """
    ssh = sshd.ports()
    defaults = ufw.read(ufw.DEFAULTS)
    if defaults is None or not has("ufw"):
        return {"installed": False, "allowed": [], "owned": [], "_ssh": ssh}
    settings = ufw.parse_settings(defaults)
    texts = {family: ufw.read(path) or "" for family, path in ufw.RULES.items()}
    rules = {family: ufw.parse_rules(text) for family, text in texts.items()}
    kernel = {family: _kernel(family, texts[family]) for family in texts}
    return {
        "installed": True,
        "ipv6": settings.get("IPV6") == "yes",
        "enabled": ufw.parse_settings(ufw.read(ufw.CONFIG) or "").get("ENABLED") == "yes",
        "active": all(found["active"] for found in kernel.values()),
        "loaded": all(found["loaded"] for found in kernel.values()),
        "incoming": settings.get("DEFAULT_INPUT_POLICY", ""),
        "outgoing": settings.get("DEFAULT_OUTPUT_POLICY", ""),
        "allowed": sorted(allowed_keys(rules)),
        "owned": sorted({rule.key for found in rules.values() for rule in found if rule.owned}),
        "restored": trial.facts(TRIAL)["restored"],
        "_ssh": ssh,
    }


def allowed_keys(rules: Dict[int, List[ufw.Rule]]) -> Set[str]:
    """Rules that let in whoever is named: from anywhere means in both families."""
    four, six = ({rule.key for rule in rules[family] if rule.plain} for family in (4, 6))
    anywhere = " from " + ufw.ANY
    return {key for key in four | six if not key.endswith(anywhere) or key in four & six}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Let SSH and what is wanted in, then close the rest, then take away our own rules that nobody wants any more."""
    facts = probe(params)
    if not facts["installed"]:
        raise StepError("ufw is not installed; add a package step for it before this one")
    _refuse_a_locked_door(facts["_ssh"])
    again = False
    if not facts["ipv6"]:
        _set_ipv6()
        again = True
    ssh = {ufw.rule_key(port, "tcp", ufw.ANY) for port in facts["_ssh"]}
    wanted = ssh | set(params["allow"])
    for key in sorted(ssh - set(facts["allowed"])) + sorted(wanted - ssh - set(facts["allowed"])):
        run.command(["ufw", *rule_words(key), "comment", ufw.OWNER])
    if facts["incoming"] != "drop":
        run.command(["ufw", "default", "deny", "incoming"])
    if facts["outgoing"] != "accept":
        run.command(["ufw", "default", "allow", "outgoing"])
    for key in sorted(set(facts["owned"]) - wanted):
        run.command(["ufw", "--force", "delete", *rule_words(key)])
    on_trial = _switch_on(params, facts, again, run)
    _verify(params, wanted)
    if on_trial:
        trial.loaded(TRIAL)


def _switch_on(params: Dict[str, Any], facts: Dict[str, Any], again: bool, run: Run) -> bool:
    """Make the kernel filter by the rules of now; return whether that is on trial."""
    off = not facts["enabled"] or not facts["active"]
    on_trial = bool(params.get("trial_s")) and (off or bool(facts["restored"]))
    if on_trial:
        trial.arm(TRIAL, params["trial_s"], "ufw disable", run)
    if off:
        run.command(["ufw", "--force", "enable"])
    elif again or not facts["loaded"]:
        run.command(["ufw", "reload"])
    return on_trial


def rule_words(key: str) -> List[str]:
    """A rule such as "80/tcp from any" as ufw is told it."""
    where, source = key.split(" from ")
    port, proto = where.split("/")
    return ["allow", "proto", proto, "from", source, "to", "any", "port", port]


def _refuse_a_locked_door(ports: List[int]) -> None:
    for family, path in ufw.RULES.items():
        for rule in ufw.parse_rules(ufw.read(path) or ""):
            shut = [port for port in ports if rule.refuses(port)]
            if shut and not rule.owned:
                raise StepError(
                    "a rule that is not ours ({} {}, IPv{}) would lock SSH out on port {}; "
                    "delete it first: ufw status numbered, then ufw delete NUMBER".format(
                        rule.action, rule.key, family, shut[0]
                    )
                )


def _set_ipv6() -> None:
    # Without it ufw leaves IPv6 to whatever was there before.
    import re

    text = ufw.read(ufw.DEFAULTS) or ""
    changed, found = re.subn(r"(?m)^\s*IPV6=.*$", "IPV6=yes", text)
    files.write(ufw.DEFAULTS, (changed if found else text + "IPV6=yes\n").encode(), 0o644)


def _kernel(family: int, text: str) -> Dict[str, bool]:
    """Whether the kernel drops by default and asks ufw first, and has as many of its rules as the file."""
    program, user, before = _CHAINS[family]
    live = ask([program, "-S"]).stdout
    lines = live.splitlines()
    there = "-N {}".format(user) in lines
    return {
        "active": "-A INPUT -j {}".format(before) in lines,
        "loaded": there and ufw.chain_length(live, user) == ufw.chain_length(text, user),
    }


def _verify(params: Dict[str, Any], wanted: Set[str]) -> None:
    facts = probe(params)
    missing = sorted(wanted - set(facts["allowed"]))
    if missing or not (facts["active"] and facts["enabled"] and facts["loaded"]):
        state = {name: facts[name] for name in ("active", "enabled", "loaded")}
        raise StepError("ufw did not take it: {}; missing rules: {}".format(state, ", ".join(missing) or "none"))
