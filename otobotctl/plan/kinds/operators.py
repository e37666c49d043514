"""The people who may log in to the host as themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from otobotctl.plan.fields import Name, unified
from otobotctl.plan.model import Change, Facts, Spec

SUDOERS = "/etc/sudoers.d/otobot-operators"
GATE = "/usr/local/sbin/otobot-gate"

Key = Annotated[str, Meta(pattern=r"\A(?:ssh-|ecdsa-|sk-)[^\x00-\x1f]+\Z")]


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One person: the account's name, all of its keys, and whether it has sudo (which asks for no password).

    `gate`: no shell and no sudo, the keys start the gate and nothing else.
    """

    name: Name
    keys: Annotated[tuple[Key, ...], Meta(min_length=1)]
    sudo: bool = True
    gate: bool = False

    def __post_init__(self) -> None:
        if self.name == "root":
            raise ValueError("root is nobody's own account")
        if self.gate and self.sudo:
            raise ValueError("who has sudo needs no gate")

    @property
    def lines(self) -> tuple[str, ...]:
        """The keys as sshd reads them."""
        options = f'restrict,command="sudo -n {GATE}" ' if self.gate else ""
        return tuple(f"{options}{key}" for key in self.keys)


class OperatorsSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """These people have an account with these keys and no password; who had one before has no way in any more.

    `login` is the account that the apply comes in by: it is never shut, and loses neither key nor sudo. Accounts that
    were not made by this kind are never changed, and homes are never deleted.
    """

    kind: ClassVar[str] = "operators"

    operators: tuple[Operator, ...] = ()
    login: Name

    def __post_init__(self) -> None:
        names = [operator.name for operator in self.operators]
        if len(names) != len(set(names)):
            raise ValueError("an operator is there twice")

    def sudoers(self, *, login: bool) -> str:
        """The text of the sudoers file, perhaps with the account that applies; "": there is to be none."""
        names = {operator.name for operator in self.operators if operator.sudo} | ({self.login} if login else set())
        lines = [f"{name} ALL=(ALL:ALL) NOPASSWD: ALL\n" for name in sorted(names)]
        gates = sorted(operator.name for operator in self.operators if operator.gate and operator.name not in names)
        lines += [f'{name} ALL=(root) NOPASSWD: {GATE} ""\n' for name in gates]
        return "".join(["# Written by otobotctl; the manifest's operators.\n", *lines]) if lines else ""

    def question(self) -> dict[str, Any]:
        """The names, and that of the account that applies."""
        return {"names": [operator.name for operator in self.operators], "login": self.login}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By each account, its keys, those that are to be shut, and the sudoers file."""
        return (*self._people(facts), *self._leavers(facts), *self._sudo(facts))

    def _people(self, facts: Facts) -> Iterator[Change]:
        for operator in self.operators:
            found = facts["accounts"][operator.name]
            mine = operator.name == self.login
            if not found["exists"]:
                yield Change(operator.name, "absent", f"may log in with {_count(operator.keys)}")
                continue
            if not found["made"] and not mine:
                after = "refused: otobotctl did not make it; give the operator another name"
                yield Change(operator.name, "an account that is there already", after)
                continue
            if found["made"] and (found["shut"] or not found["locked"]):
                yield Change(operator.name, "locked" if found["shut"] else "has a password", "may log in with keys")
            there, wanted = list(found["keys"] or ()), list(operator.lines)
            enough = mine and set(wanted) <= set(there)
            if there != wanted and not enough:
                before, after = "".join(f"{key}\n" for key in there), "".join(f"{key}\n" for key in wanted)
                path = f"authorized keys of {operator.name}"
                yield Change(path, _count(there), _count(wanted), unified(path, before, after))

    def _leavers(self, facts: Facts) -> Iterator[Change]:
        wanted = {operator.name for operator in self.operators}
        for name, found in facts["accounts"].items():
            gone = name in wanted or name == self.login or not found["made"]
            if not gone and (not found["shut"] or found["keys"] or not found["locked"]):
                yield Change(name, "may log in", "locked, without keys (the home stays)")

    def _sudo(self, facts: Facts) -> Iterator[Change]:
        # An account that was made here and applies keeps its sudo: without it nothing could be applied again.
        before, after = facts["sudoers"] or "", self.sudoers(login=facts["accounts"][self.login]["made"])
        if before != after:
            yield Change("sudo", diff=unified(SUDOERS, before, after))

    def wire(self) -> dict[str, Any]:
        """The question, the people, and the sudoers file without and with the account that applies."""
        both = {"sudoers": self.sudoers(login=False), "sudoers_with_login": self.sudoers(login=True)}
        people = [{"name": operator.name, "keys": list(operator.lines)} for operator in self.operators]
        return {**super().wire(), **self.question(), "operators": people, **both}

    def title(self) -> str:
        """The names."""
        return ", ".join(operator.name for operator in self.operators) or "nobody"

    def commands(self) -> tuple[str, ...]:
        """Make the accounts, write their keys, check and write the sudoers file."""
        made = [f"useradd --create-home --shell /bin/bash {operator.name}" for operator in self.operators]
        keys = [f"$EDITOR ~{operator.name}/.ssh/authorized_keys" for operator in self.operators]
        return (*made, *keys, *([f"visudo -f {SUDOERS}"] if self.sudoers(login=False) else []))

    def touches(self) -> tuple[str, ...]:
        """The sudoers file."""
        return (SUDOERS,)


def _count(keys: Any) -> str:
    return f"{len(keys)} key{'' if len(keys) == 1 else 's'}"


SPEC = OperatorsSpec
