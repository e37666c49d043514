"""Databases of a MongoDB beside each other. A database has no name of its own to change: its collections move."""

from __future__ import annotations

import json
import subprocess
from typing import Any, List

from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.dumps import ADMIN, MONGO_PASSWORD

_OPEN = """const server = new Mongo("mongodb://127.0.0.1:27017");
server.getDB("admin").auth(said.user, said.password);
const names = (name) => server.getDB(name).getCollectionInfos({type: "collection"}).map((each) => each.name);
const drop = (name) => server.getDB(name).dropDatabase();
const move = (from, to) => { for (const each of names(from)) {
    if (each.startsWith("system.")) continue;
    const done = server.getDB("admin").runCommand(
        {renameCollection: `${from}.${each}`, to: `${to}.${each}`, dropTarget: true});
    if (!done.ok) throw new Error(done.errmsg); } };
"""


class Mongo:
    """The server of one service of the project. Every method raises RestoreError."""

    def __init__(self, hands: Hands, service: str) -> None:
        self._hands = hands
        self._service = service
        self._known = ""

    def fill(self, name: str, beside: str, stream: "subprocess.Popen[bytes]", *, packed: bool) -> None:
        """Restore a dump of `name` into the database `beside`."""
        # The archive comes on stdin, so that the password comes in a file that only this shell's child can open.
        # YAML between single quotes: whatever is in it is meant, and a quote is written twice.
        script = "exec 3<<EOF\npassword: '$(printf %s {} | sed \"s/'/''/g\")'\nEOF\n"
        script += 'exec mongorestore --config=/dev/fd/3 "$@"'
        words = (
            "--username=" + ADMIN, "--authenticationDatabase=admin", "--archive", "--drop", "--stopOnError",
            "--nsInclude={}.*".format(name), "--nsFrom={}.*".format(name), "--nsTo={}.*".format(beside),
        )  # fmt: skip
        # The variable is the container's own: its value is on no command line.
        shell = script.format('"$' + MONGO_PASSWORD + '"')
        argv = self._hands.project.inside(self._service, "sh", "-c", shell, "mongorestore", *words)
        self._hands.flow(stream, [*argv, "--gzip"] if packed else argv, name)

    def exchange(self, item: Item, course: Course) -> None:
        """Move what is there aside, and what was restored to its place; each is noted before the next."""
        if "away " + item.name not in course.about["done"]:
            self._run("move({}, {});".format(json.dumps(item.name), json.dumps(item.before)))
            course.note("away " + item.name)
        self._run("move({}, {});".format(json.dumps(item.beside), json.dumps(item.name)))

    def back(self, item: Item, course: Course) -> None:
        """The former data in its place, whatever has become of it since."""
        if "away " + item.name in course.about["done"]:
            self._run("drop({});".format(json.dumps(item.name)))  # all of it is the restored one
            course.about["done"].remove("away " + item.name)
            course.enter(course.phase)
        self._run("move({}, {});".format(json.dumps(item.before), json.dumps(item.name)))

    def drop(self, *names: str) -> None:
        """Drop databases; those that are not there are fine."""
        for name in names:
            self._run("drop({});".format(json.dumps(name)))

    def _run(self, script: str) -> str:
        if not self._known:
            self._known = self._hands.environment(self._service).get(MONGO_PASSWORD, "")
        said: Any = json.dumps({"user": ADMIN, "password": self._known})
        begin = 'const said = JSON.parse(require("fs").readFileSync(0, "utf8"));\n'
        words: List[str] = ["mongosh", "--quiet", "--norc", "--nodb", "--eval", begin + _OPEN + script]
        try:
            return self._hands.tell(self._hands.project.inside(self._service, *words), said, "mongosh")
        except RestoreError as error:
            raise RestoreError(str(error).replace(self._known, "***") if self._known else str(error)) from None
