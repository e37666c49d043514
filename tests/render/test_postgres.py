"""A real PostgreSQL runs the rendered initialisation, again and again."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from otobotctl.secrets import Secret, previous
from tests.render.sample import EVERYTHING, rendered, resolved, text


def _programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """A PostgreSQL of its own on a socket; nobody else can reach it."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        # PostgreSQL refuses root; it runs as its own user there, which the Debian package makes.
        self.user = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()

    def call(self, *argv, env=(), check=True):
        """Run a program of PostgreSQL with nothing but `env` in its environment."""
        return subprocess.run(
            [*self.user, "env", "-i", "LC_ALL=C.UTF-8", *env, self.programs / argv[0], *argv[1:]],
            check=check,
            capture_output=True,
            text=True,
            cwd=self.folder,
        )

    def start(self):
        """Make the cluster as the image does and start it."""
        data = self.folder / "data"
        self.call("initdb", f"--pgdata={data}", "--username=otobot_admin", "--auth-local=trust", "--encoding=UTF8")
        hba = data / "pg_hba.conf"
        hba.write_text("local all otobot_admin trust\nlocal all all scram-sha-256\n")
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self.call(
            "pg_ctl",
            f"--pgdata={data}",
            "--wait",
            "--timeout=120",
            f"--log={self.folder}/log",
            f"--options={options}",
            "start",
        )

    def stop(self):
        """Stop it at once; its files go with the folder."""
        self.call("pg_ctl", f"--pgdata={self.folder / 'data'}", "--mode=immediate", "stop", check=False)

    def initialise(self, release, warned=""):
        """Run init.sql as the one-shot container does, with its environment file."""
        script = self.folder / "init.sql"
        script.write_text(text(release, "postgres/init.sql"))
        environment = [line for line in text(release, "env/postgres-init.env").splitlines() if "PGHOST" not in line]
        said = self.call(
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            f"--file={script}",
            env=[*environment, f"PGHOST={self.folder}"],
        )
        assert warned in said.stderr if warned else said.stderr == ""

    @contextmanager
    def session(self, user, password, database="otobot_frontend"):
        """An open connection of a role: each statement's answer."""
        env = [f"PGHOST={self.folder}", f"PGUSER={user}", f"PGPASSWORD={password}", f"PGDATABASE={database}"]
        words = ["env", "-i", *env, self.programs / "psql", "-XAtq"]
        ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen([*self.user, *words], **ends, text=True, cwd=self.folder, bufsize=1) as process:

            def answer(statement):
                process.stdin.write(f"{statement}\n")
                process.stdin.flush()
                return process.stdout.readline().strip()

            assert answer("SELECT 'here';") == "here"
            yield answer
            process.stdin.close()
            process.kill()

    def ask(self, user, password, statement, database="otobot_frontend"):
        """What a role gets for a statement: (status, stdout and stderr)."""
        env = [f"PGHOST={self.folder}", f"PGUSER={user}", f"PGPASSWORD={password}", f"PGDATABASE={database}"]
        said = self.call(
            "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={statement}", env=env, check=False
        )
        return said.returncode, (said.stdout + said.stderr).strip()


@pytest.fixture(scope="module")
def server():
    """A server that the tests of this module share."""
    programs = _programs()
    if programs is None or (os.geteuid() == 0 and not shutil.which("runuser")):
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL: scripts/test-packages installs it", pytrace=False)
        pytest.skip("no PostgreSQL: scripts/test-packages installs it")
    with tempfile.TemporaryDirectory(prefix="otobot-") as path:
        folder = Path(path)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = Server(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


OWNER = ("vault_owner", "acme-frontend_db_password-VALUE")
RUNTIME = ("vault_runtime", "acme-vault_runtime_password-VALUE")


def test_roles_and_databases_are_as_rendered_however_often_it_runs(server):
    """The owner may build, the runtime may only connect, nobody else may; a second run changes nothing."""
    for _ in range(2):
        server.initialise(rendered(resolved()))
        assert server.ask(*OWNER, "CREATE TABLE IF NOT EXISTS public.kept (id int)")[0] == 0
    assert server.ask(*OWNER, "SELECT count(*) FROM pg_extension WHERE extname = 'pgcrypto'") == (0, "1")
    status, said = server.ask(*RUNTIME, "CREATE TABLE mine (id int)")
    assert status == 1
    assert "permission denied for schema public" in said
    assert "permission denied" in server.ask(*RUNTIME, "CREATE SCHEMA mine")[1]
    assert "permission denied" in server.ask(*RUNTIME, "SELECT * FROM kept")[1]
    assert "permission denied" in server.ask(*RUNTIME, "CREATE ROLE more")[1]


def test_each_application_owns_its_database_and_sees_no_other(server):
    """n8n's and ToolJet's owners build in their own database, have pgcrypto there, and may not enter another's."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=list(EVERYTHING)))
    for _ in range(2):
        server.initialise(rendered(fleet))
    for name, other in (("n8n", "otobot_tooljet"), ("tooljet", "otobot_n8n")):
        login = (f"{name}_owner", f"acme-{name}_db_password-VALUE")
        own = f"otobot_{name}"
        assert server.ask(*login, "CREATE TABLE IF NOT EXISTS kept (id uuid DEFAULT gen_random_uuid())", own)[0] == 0
        assert server.ask(*login, "SELECT length(digest('x', 'sha256'))", own) == (0, "32")
        assert "permission denied for database" in server.ask(*login, "SELECT 1", other)[1]
        assert "permission denied for database" in server.ask(*login, "SELECT 1")[1]
        assert "permission denied to create database" in server.ask(*login, "CREATE DATABASE mine", own)[1]


def test_where_text_sorts_in_another_way_since_the_last_image_its_indexes_are_built_anew(server):
    """Once, in every database; else an index would miss rows, and PostgreSQL would refuse to make another database."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=["postgres", "vault-api", "n8n"]))
    admin = ("otobot_admin", "")
    server.ask(*admin, "DROP DATABASE IF EXISTS otobot_n8n", "postgres")
    made = "CREATE DATABASE otobot_n8n TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'fr'"
    assert server.ask(*admin, made, "postgres") == (0, "CREATE DATABASE")
    assert server.ask(*admin, "CREATE TABLE words (word text PRIMARY KEY)", "otobot_n8n")[0] == 0
    where = "SELECT pg_relation_filenode('words_pkey')"
    version = "SELECT datcollversion = pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = '{}'"
    first = server.ask(*admin, where, "otobot_n8n")
    server.initialise(rendered(fleet))
    assert server.ask(*admin, where, "otobot_n8n") == first
    older = "UPDATE pg_database SET datcollversion = '1' WHERE datname = 'otobot_n8n'"
    assert server.ask(*admin, older, "postgres")[0] == 0
    server.initialise(rendered(fleet), warned="has a collation version mismatch")
    second = server.ask(*admin, where, "otobot_n8n")
    assert second != first
    assert server.ask(*admin, version.format("otobot_n8n"), "postgres") == (0, "t")
    server.initialise(rendered(fleet))
    assert server.ask(*admin, where, "otobot_n8n") == second


def test_an_extension_that_the_server_lacks_is_left_out(server):
    """A PostgreSQL without it is initialised all the same."""
    release = rendered(resolved())
    files = tuple(
        type(file)(file.path, file.content.replace(b"pgcrypto", b"no_such_extension"), file.mode, file.secret)
        for file in release.files
    )
    server.initialise(type(release)(release.client, release.project, files, release.services, release.digest))


def test_a_changed_password_takes_effect_at_the_next_run(server):
    """Rotating a database password is minting a value and deploying it."""
    release = rendered(resolved())
    server.initialise(release)
    changed = {
        file.path: file.content.replace(b"acme-vault_runtime_password-VALUE", b"another")
        for file in release.files
        if file.path in ("postgres/init.sql", "env/postgres-init.env")
    }
    files = tuple(
        type(file)(file.path, changed.get(file.path, file.content), file.mode, file.secret) for file in release.files
    )
    server.initialise(type(release)(release.client, release.project, files, release.services, release.digest))
    assert server.ask("vault_runtime", "another", "SELECT 1") == (0, "1")
    assert "password authentication failed" in server.ask(*RUNTIME, "SELECT 1")[1]
    server.initialise(release)
    assert server.ask(*RUNTIME, "SELECT 1") == (0, "1")


def test_two_logins_take_turns_and_both_are_the_role(server):
    """While a password is exchanged both logins work and make what the role owns; then the former's sessions end too."""
    name = "FRONTEND_DB_PASSWORD"
    new, old = Secret(name, "second", 1), Secret(previous(name), OWNER[1])
    second = ("vault_owner_2", "second")
    server.initialise(rendered(resolved()))
    assert server.ask(*second, "SELECT 1")[0] == 2
    both = rendered(resolved(), **{name: new, old.name: old})
    for _ in range(2):
        server.initialise(both)
        assert server.ask(*OWNER, "SELECT current_user") == (0, "vault_owner")
        assert server.ask(*second, "SELECT current_user, session_user") == (0, "vault_owner|vault_owner_2")
    assert server.ask(*second, "CREATE TABLE public.turned (id int); ALTER TABLE public.turned ADD x int")[0] == 0
    assert server.ask(*OWNER, "SELECT tableowner FROM pg_tables WHERE tablename = 'turned'") == (0, "vault_owner")
    with server.session(*OWNER) as former, server.session(*second) as present:
        server.initialise(rendered(resolved(), **{name: new}))
        assert "terminating connection" in former("SELECT 1;")
        assert present("SELECT 1;") == "1"
    assert "password authentication failed" in server.ask(*OWNER, "SELECT 1")[1]
    # The next turn goes back to the first login.
    third, kept = Secret(name, "third", 0), Secret(previous(name), "second", 1)
    server.initialise(rendered(resolved(), **{name: third, kept.name: kept}))
    assert server.ask("vault_owner", "third", "SELECT 1") == server.ask(*second, "SELECT 1") == (0, "1")
    server.initialise(rendered(resolved(), **{name: third}))
    assert "password authentication failed" in server.ask(*second, "SELECT 1")[1]
    server.initialise(rendered(resolved()))


def test_the_vaults_containers_log_in_as_the_one_whose_turn_it_is():
    """Rights go to the role itself, and the environment of whoever connects names the login."""
    turned = rendered(resolved(), **{
        name: Secret(name, "x" * 32, 1) for name in ("FRONTEND_DB_PASSWORD", "VAULT_RUNTIME_PASSWORD")
    })  # fmt: skip
    assert "VAULT_RUNTIME_USER=vault_runtime_2\n" in text(turned, "env/vault-api.env")
    assert "VAULT_RUNTIME_USER=vault_runtime_2\n" in text(turned, "env/token-refresher.env")
    migrate = text(turned, "env/vault-migrate.env")
    assert "VAULT_RUNTIME_USER=vault_runtime\n" in migrate
    assert "VAULT_OWNER_USER=vault_owner_2\n" in migrate


def test_no_password_reaches_the_servers_log(server):
    """The log of every run so far holds no value."""
    server.initialise(rendered(resolved()))
    assert "VALUE" not in (server.folder / "log").read_text()
