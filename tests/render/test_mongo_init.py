"""The script that keeps MongoDB's users as they should be, against the calls of mongosh that it makes."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.lab.fixtures import unavailable
from tests.render.sample import rendered, text
from tests.render.test_services import fleet_with

# mongosh's own objects, as far as the script has them: who is not logged in may only make the very first user, and that
# from the server's own address.
MONGOSH = """
const users = JSON.parse(process.argv[2]); // "database.name": password
let entered = false;
globalThis.Mongo = class {
  constructor(url) { this.local = url.includes("//127.0.0.1:"); }
  getDB(database) {
    const key = (name) => `${database}.${name}`;
    const allow = () => { if (!entered) throw new Error("requires authentication"); };
    return {
      auth: (name, password) => {
        if (!password || users[key(name)] !== password) throw new Error("Authentication failed.");
        entered = true;
        return { ok: 1 };
      },
      createUser: ({ user, pwd }) => { if (!this.local || Object.keys(users).length) allow(); users[key(user)] = pwd; },
      updateUser: (name, { pwd }) => { allow(); users[key(name)] = pwd; },
      dropUser: (name) => { allow(); delete users[key(name)]; },
      getUser: (name) => { allow(); return key(name) in users ? { user: name } : null; },
    };
  }
};
require("node:vm").runInThisContext(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(users));
"""
OWN = {"MONGO_PASSWORD": "own", "PASSWORD_LIBRECHAT_OWNER": "chat"}
DONE = {"admin.otobot_admin": "own", "librechat.librechat_owner": "chat"}


def init(users, tmp_path, **environment):
    """Run the script on a server with these users; return those that are there afterwards, or what it failed with."""
    node = shutil.which("node")
    if node is None:
        unavailable("node is not installed")
    (tmp_path / "mongosh.js").write_text(MONGOSH)
    script = text(rendered(fleet_with()), "mongo/init.js")
    done = subprocess.run(
        [node, tmp_path / "mongosh.js", json.dumps(users)],
        input=script, env={**OWN, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_users_are_made_once_and_keep_their_passwords(tmp_path):
    """A second run changes nothing; another password is set."""
    assert init({"admin.otobot_admin": "own"}, tmp_path) == DONE
    assert init(DONE, tmp_path) == DONE
    assert init(DONE, tmp_path, PASSWORD_LIBRECHAT_OWNER="new")["librechat.librechat_owner"] == "new"


def test_a_superuser_that_a_cut_first_start_did_not_make_is_made(tmp_path):
    """The image would never make it: its data are there, and nobody could log in."""
    assert init({}, tmp_path) == DONE


@pytest.mark.parametrize("known", ["before", "own"])
def test_while_the_password_is_exchanged_either_opens(tmp_path, known):
    """Afterwards it is the new one."""
    assert init({**DONE, "admin.otobot_admin": known}, tmp_path, MONGO_PASSWORD_PREVIOUS="before") == DONE


def test_another_password_is_told_as_what_it_is(tmp_path):
    """Where there are users nobody makes himself one."""
    assert "Authentication failed." in init({"admin.otobot_admin": "another"}, tmp_path)
