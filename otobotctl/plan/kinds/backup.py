"""A client's backups on its host: the job, what opens its repositories, and the timers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from otobotctl.agent.backup.shapes import HOME, unit
from otobotctl.plan.contents import Content, refuse_twins
from otobotctl.plan.fields import State, unified
from otobotctl.plan.kinds.timer import FOLDER, OneLine
from otobotctl.plan.model import Change, Facts, Spec

PROGRAM = "/usr/local/sbin/otobot-backup"
Word = Literal["run", "verify", "drill", "erasures", "wal", "base"]
WORDS: tuple[Word, ...] = get_args(Word)
ASKED_FOR = ("wal", "base")  # units that only those have whose timers name them
# Whatever of these a client does not need is not there; nothing else of its folder is touched.
FILES = ("id_ed25519", "job.json", "key", "known_hosts", "secrets.age", "secrets.sum")
SEALED, SUM = "secrets.age", "secrets.sum"

Client = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]


class Timed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`otobot-backup CLIENT word` is started at `at` (systemd.time(7)), up to `delay_s` later."""

    word: Word
    at: OneLine
    delay_s: Annotated[int, Meta(ge=0, le=86400)] = 0


class BackupSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The client's archives are made by its host, to `targets`, with `files` and at the times of `timers`.

    A new release that has come up is archived at once, where archives are made by themselves and there was one before.
    Absent: no file, no timer and no note is left, and what runs is ended.
    """

    kind: ClassVar[str] = "backup"

    client: Client
    targets: tuple[str, ...] = ()
    files: tuple[Content, ...] = ()
    timers: tuple[Timed, ...] = ()
    state: State = "present"

    def __post_init__(self) -> None:
        refuse_twins(self.files)
        if unknown := [file.path for file in self.files if file.path not in FILES]:
            raise ValueError(f"{unknown[0]} is no file of a backup")
        if (self.state == "absent") == bool(self.files):
            raise ValueError("give files; what is absent has none")

    def __repr__(self) -> str:
        return f"BackupSpec(client={self.client!r}, targets={self.targets!r}, state={self.state!r})"

    def question(self) -> dict[str, Any]:
        """The client, and what there could be of it."""
        asked = {"client": self.client, "state": self.state, "units": [self._unit(word) for word in WORDS]}
        return asked if self.state == "absent" else {**asked, "files": list(FILES)}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the files' digests, the units' texts, the timers, and whether the release has an archive."""
        if self.state == "absent":
            return (Change("backups", "present", "absent"),) if facts["present"] else ()
        return (*self._files(facts), *self._units(facts), *self._timers(facts), *self._release(facts))

    def _files(self, facts: Facts) -> Iterator[Change]:
        wanted = {file.path: file.sha256() for file in self.files}
        for name in FILES:
            found = facts["files"].get(name)
            if name not in wanted:
                if found is not None:
                    yield Change(name, "present", "absent")
            elif found is None:
                yield Change(name, "absent", self._shown(name))
            elif found["sha256"] != wanted[name] and not (name == SEALED and self._same_secrets(facts)):
                yield Change(name, diff="contents differ (secret)")
            elif found["attributes"] != "0600 root:root":
                yield Change(name, found["attributes"], "0600 root:root")

    def _same_secrets(self, facts: Facts) -> bool:
        """Whether the host's sealed file has the same values for the same people: each sealing gives other bytes."""
        there = facts["files"].get(SUM, {}).get("sha256")
        return any(file.path == SUM and file.sha256() == there for file in self.files)

    def _shown(self, name: str) -> str:
        return f"to {', '.join(self.targets)}" if name == "job.json" else "present (secret)"

    def _units(self, facts: Facts) -> Iterator[Change]:
        wanted = self.units()
        for path in sorted({*wanted, *facts["units"]}):
            before, after = facts["units"].get(path), wanted.get(path)
            if before != after:
                kind = "absent" if before is None else "differs"
                yield Change(path, kind, "" if after else "absent", unified(path, before or "", after or ""))
        if facts["_stale"]:
            yield Change("units", "read by systemd before they changed", "read again")

    def _timers(self, facts: Facts) -> Iterator[Change]:
        for timer in self.timers:
            name = f"{self._unit(timer.word)}.timer"
            if (state := facts["_timers"].get(name, "")) != "enabled active":
                yield Change(name, state or "absent", "enabled active")

    def _release(self, facts: Facts) -> Iterator[Change]:
        """What has not been archived since it came up; the first archive of all is made by hand."""
        now, archived = facts["_release"], facts["_archived"]
        if archived and now is not None and now not in (*archived, facts["_started"]) and self._by_itself():
            yield Change("archive", f"of release {archived[0]}", f"of release {now}")

    def _by_itself(self) -> bool:
        return any(timer.word == "run" for timer in self.timers)

    def units(self) -> dict[str, str]:
        """The text of every unit, by path."""
        found = {}
        timed = {timer.word for timer in self.timers}
        for word in WORDS:
            if word in ASKED_FOR and word not in timed:
                continue
            # The log is shipped without end; a new job or a new agent has the unit end by itself and start again.
            how = "Type=exec\nRestart=always\nRestartSec=5\n" if word == "wal" else "Type=oneshot\n"
            description = f"Backups of {self.client}: {word} (otobotctl)"
            found[f"{FOLDER}/{self._unit(word)}.service"] = (
                f"[Unit]\nDescription={description}\nWants=network-online.target\n"
                "After=network-online.target docker.service\n\n"
                f"[Service]\n{how}ExecStart={PROGRAM} {self.client} {word}\n"
                "Nice=10\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n"
            )
        for timer in self.timers:
            found[f"{FOLDER}/{self._unit(timer.word)}.timer"] = (
                f"[Unit]\nDescription=Backups of {self.client}: {timer.word} (otobotctl)\n\n"
                f"[Timer]\nOnCalendar={timer.at}\nPersistent=true\nRandomizedDelaySec={timer.delay_s}\n\n"
                "[Install]\nWantedBy=timers.target\n"
            )
        return found

    def _unit(self, word: str) -> str:
        return unit(self.client, word)

    def wire(self) -> dict[str, Any]:
        """The question, the files, the units, and the timers to switch on."""
        if self.state == "absent":
            return self.question()
        return {
            **self.question(),
            "files": [file.wire() for file in self.files],
            "managed": list(FILES),
            "texts": self.units(),
            "timers": [f"{self._unit(timer.word)}.timer" for timer in self.timers],
            "by_itself": self._by_itself(),
        }

    def title(self) -> str:
        """The client and its targets."""
        return f"{self.client}: {', '.join(self.targets) or 'no targets'}"

    def commands(self) -> tuple[str, ...]:
        """Write the files and units, switch the timers on; or all of that back."""
        folder = f"{HOME}/{self.client}"
        every = " ".join(f"{self._unit(word)}.timer" for word in WORDS)
        if self.state == "absent":
            first = self._unit(WORDS[0])
            endings = ",".join(self._unit(word).removeprefix(first) for word in WORDS)
            units = f"rm -f {FOLDER}/{first}{{{endings}}}.{{service,timer}}"
            return (
                f"systemctl disable --now {every}",
                units,
                f"rm -rf {shlex.quote(folder)}",
                "systemctl daemon-reload",
            )
        files = tuple(f"install -m 0600 NEW_CONTENT {folder}/{file.path}" for file in self.files)
        texts = tuple(f"install -m 0644 NEW_CONTENT {path}" for path in self.units())
        on = " ".join(f"{self._unit(timer.word)}.timer" for timer in self.timers)
        return (
            f"install -d -m 0700 {folder}",
            *files,
            *texts,
            "systemctl daemon-reload",
            f"systemctl enable --now {on}",
        )

    def touches(self) -> tuple[str, ...]:
        """The folder and the units."""
        return (f"{HOME}/{self.client}", *self.units())


SPEC = BackupSpec
