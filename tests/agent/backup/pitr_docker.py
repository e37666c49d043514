"""Stands in for docker where containers are a real PostgreSQL and its real receiver: `pitr_docker.py HERE WORDS...`.

HERE/settings.json says how programs of PostgreSQL are started. Containers are files of process ids in HERE/pids.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[1])
SETTINGS = json.loads((HERE / "settings.json").read_text())
RUNNING = HERE / "running/otobot-acme"
DRILLS = HERE / "drills"  # a folder each, the volume of the container of its name
LIVE, RECEIVER = "postgres", "postgres-wal"
LIMIT_S = 120.0


def program(name: str, *words: str) -> list[str]:
    """A program of PostgreSQL's, as who may run it; not for ever, whoever is killed."""
    return [*SETTINGS["account"], "timeout", "--signal=QUIT", "900", f"{SETTINGS['binaries']}/{name}", *words]


def volume(name: str) -> str:
    return str(HERE / "volumes" / f"otobot-acme_{name}")


def alive(name: str) -> bool:
    try:
        number = int((HERE / "pids" / name).read_text())
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False


def start(name: str, argv: list[str]) -> None:
    log = (HERE / "logs" / name).open("ab")
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
    (HERE / "pids" / name).write_text(str(process.pid))


def server(name: str, data: str, *words: str) -> None:
    socket = HERE / "sockets" / name
    socket.mkdir(exist_ok=True)
    socket.chmod(0o777)
    usual = {"unix_socket_directories": socket, "listen_addresses": "", "fsync": "off", "shared_buffers": "16MB"}
    options = [word for key, value in usual.items() for word in ("-c", f"{key}={value}")]
    start(name, program("postgres", "-D", data, *options, "-c", "dynamic_shared_memory_type=mmap", *words))


def end(name: str, number: int = signal.SIGINT) -> None:
    deadline = time.monotonic() + LIMIT_S
    while alive(name) and time.monotonic() < deadline:
        group = int((HERE / "pids" / name).read_text())
        for each in subprocess.run(["pgrep", "-P", str(group)], capture_output=True, text=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(int(each), number)
        time.sleep(0.1)


def up() -> None:
    if (HERE / "broken").exists():
        (HERE / "broken").unlink()
        sys.exit("n8n is unhealthy")
    if not alive(LIVE):
        server(LIVE, volume("postgres_data"), *SETTINGS["live"])
    deadline = time.monotonic() + LIMIT_S
    while subprocess.run(inside(LIVE, "pg_isready", "--quiet")).returncode:
        if time.monotonic() > deadline or not alive(LIVE):
            sys.exit("postgres is unhealthy: " + (HERE / "logs/postgres").read_text()[-500:])
        time.sleep(0.1)
    for statement in SETTINGS["init"]:
        assert psql("postgres", statement) == 0
    psql("otobot_frontend", SETTINGS["migrate"])  # where there is a vault
    if not alive(RECEIVER):
        found = f"PATH={SETTINGS['binaries']}:{os.environ['PATH']}"
        shell = ["timeout", "--signal=INT", "900", "env", found, "sh", "-c", SETTINGS["receiver"]]
        start(RECEIVER, [*SETTINGS["account"], *shell])
    for each in (HERE / "containers/otobot-acme").iterdir():
        (RUNNING / each.name).touch()


def psql(database: str, statement: str) -> int:
    words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "otobot_admin", "-d", database, "-c", statement)
    return subprocess.run(inside(LIVE, *words), check=False, capture_output=True).returncode


def inside(container: str, name: str, *words: str) -> list[str]:
    if (HERE / "inside" / name).exists():
        return [str(HERE / "inside" / name), *words]
    return ["env", f"PGHOST={HERE}/sockets/{container}", f"{SETTINGS['binaries']}/{name}", *words]


def drill(words: list[str]) -> None:
    """A container of a drill: one that only sleeps, an empty server, or the vault's proof."""
    name = words[words.index("--name") + 1]
    if "--detach" not in words:
        print('{"stored": 2, "opened": 2, "failed": 0}')
        return
    (DRILLS / name).mkdir()
    if SETTINGS["owner"]:
        os.chown(DRILLS / name, *SETTINGS["owner"])
    if "--entrypoint" in words:
        return
    data = str(DRILLS / name / "data")
    options = ("--username=otobot_admin", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
    subprocess.run(program("initdb", f"--pgdata={data}", *options), check=True, capture_output=True, cwd="/")
    server(name, data)


def in_drill(name: str, words: list[str]) -> list[str]:
    """What runs in a container of a drill; its volume is a folder."""
    place = str(DRILLS / name)
    words = [word.replace("/var/lib/postgresql/data", place) for word in words if not word.startswith("--host=")]
    if words[0] in ("sh", "tail"):
        return [*SETTINGS["account"], *words]
    if words[0] == "pg_ctl":
        socket = HERE / "sockets" / name
        socket.mkdir(exist_ok=True)
        socket.chmod(0o777)
        usual = f"-c unix_socket_directories={socket} -c fsync=off -c shared_buffers=16MB -c dynamic_shared_memory_type=mmap"
        more = [f"--options={usual}"] if words[1] == "start" else []
        return [*SETTINGS["account"], f"{SETTINGS['binaries']}/pg_ctl", *words[1:], *more]
    return ["env", f"PGHOST={HERE}/sockets/{name}", f"{SETTINGS['binaries']}/{words[0]}", *words[1:]]


def drilled(words: list[str]) -> bool:
    """Do what is asked of a drill's containers and network; False: it is of none."""
    if words[0] == "run" and "--label" in words:
        drill(words)
    elif words[0] == "ps" and any("label=otobot.drill=" in word for word in words):
        print("\n".join(path.name for path in DRILLS.iterdir()))
    elif words[0] == "exec" and (DRILLS / words[2]).exists():
        argv = in_drill(words[2], words[3:])
        os.chdir("/")
        os.execvp(argv[0], argv)
    elif words[0] == "rm" and any((DRILLS / word).exists() for word in words[3:]):
        for each in words[3:]:
            removed(each)
    else:
        return words[0] == "network"
    return True


def removed(name: str) -> None:
    """The container is gone, with all that ran in it."""
    for data in ("drill", "data"):
        words = ("stop", "--mode=immediate", f"--pgdata={DRILLS / name / data}")
        if (DRILLS / name / data / "postmaster.pid").exists():
            subprocess.run(program("pg_ctl", *words), check=False, capture_output=True, cwd="/")
    shutil.rmtree(DRILLS / name)


SHOWN = {
    "inspect": lambda name: "true" if alive(name) else "false",
    "logs": lambda name: (HERE / "logs" / name).read_text(),
    "info": lambda _: HERE,
}


def main(words: list[str]) -> None:
    """Do as docker would, as far as a restore to a moment asks."""
    with (HERE / "calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")
    if drilled(words):
        return
    if words[0] == "run":
        name = words[words.index("--name") + 1]
        mount = dict(each.partition("=")[::2] for each in words[words.index("--mount") + 1].split(","))
        server(name, mount["source"], *words[words.index("postgres:16") + 2 :])
    elif words[0] == "exec":
        argv = inside(words[2], *words[3:])
        os.execvp(argv[0], argv)
    elif words[0] in SHOWN:
        print(SHOWN[words[0]](words[-1]))
    elif words[0] == "rm":
        end(words[-1], signal.SIGKILL)
        (HERE / "logs" / words[-1]).unlink(missing_ok=True)
    elif words[0] == "stop":
        for each in words[3:]:
            end(each.removeprefix("id-"))
            (RUNNING / each.removeprefix("id-")).unlink(missing_ok=True)
    elif words[0] == "compose":
        compose(words)
    else:
        os.execv(HERE / "docker", ["docker", *words])


def compose(words: list[str]) -> None:
    """Bring all up, or run a program in a container."""
    if "up" in words:
        up()
    elif "exec" in words:
        place = words.index("exec")
        if not (RUNNING / words[place + 2]).exists():
            sys.exit(f'service "{words[place + 2]}" is not running')
        argv = inside(*words[place + 2 :])
        os.execvp(argv[0], argv)
    else:
        os.execv(HERE / "docker", ["docker", *words])


if __name__ == "__main__":
    main(sys.argv[2:])
