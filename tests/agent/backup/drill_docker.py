"""Stands in for docker in a drill: a container is a real PostgreSQL of this machine, or the vault's real program.

$DRILL holds it all: containers/NAME (its pid and labels), networks/NAME, calls, config.json; images/ says which
images are there, all of them where there is no such folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.environ["DRILL"])
SERVER = """
import json, os, sys, time
from pathlib import Path
from scripts.story import embedded
with embedded.running() as server:
    about = {"pid": os.getpid(), "socket": str(server.socket), "port": server.port, "binaries": str(server.binaries)}
    path = Path(sys.argv[1])
    path.with_suffix(".new").write_text(json.dumps(about))
    path.with_suffix(".new").rename(path)
    while path.exists():
        time.sleep(0.05)
"""


def containers() -> dict[str, dict]:
    """What runs, by name."""
    return {path.stem: json.loads(path.read_text()) for path in (HERE / "containers").glob("*.json")}


def run(words: list[str]) -> int:
    """Start a container: PostgreSQL in the background, anything else to its end."""
    name = words[words.index("--name") + 1]
    if name in containers():
        sys.stderr.write(f"Conflict. The container name {name} is already in use\n")
        return 125
    if "--detach" not in words:
        listed = Path(words[words.index("--env-file") + 1]).read_text().splitlines()
        given = dict(line.split("=", 1) for line in listed)
        server = containers()[name.rsplit("-", 2)[0] + "-postgres"]
        given |= {"VAULT_DATABASE_HOST": server["socket"], "VAULT_DATABASE_PORT": str(server["port"])}
        argv = words[words.index("python") :]
        argv = [sys.executable, "-m", "otobotctl.vault_api", *argv[3:]]
        return subprocess.run(argv, env={**given, "PYTHONPATH": os.environ["TOP"]}, check=False).returncode
    if "broken" in words[-1]:
        sys.stderr.write("Unable to find image\n")
        return 125
    path = HERE / "containers" / f"{name}.json"
    environment = {**os.environ, "PYTHONPATH": os.environ["TOP"]}
    argv = [sys.executable, "-c", SERVER, str(path)]
    with (HERE / "server.log").open("ab") as log:
        process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    while not path.exists():
        if process.poll() is not None:
            return 125
        time.sleep(0.05)
    print(name)
    return 0


def execute(words: list[str]) -> int:
    """Run a program of PostgreSQL against the server of a container."""
    server = containers().get(words[0])
    if server is None:
        sys.stderr.write(f"No such container: {words[0]}\n")
        return 1
    argv = [f"{server['binaries']}/{words[1]}", *(word for word in words[2:] if not word.startswith("--host="))]
    environment = {**os.environ, "PGHOST": server["socket"], "PGPORT": str(server["port"])}
    return subprocess.run(argv, env=environment, check=False).returncode


def remove(names: list[str]) -> int:
    """Stop and forget containers."""
    for name in names:
        path = HERE / "containers" / f"{name}.json"
        pid = json.loads(path.read_text())["pid"]
        path.unlink()
        for _ in range(600):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
            time.sleep(0.1)
        else:
            os.kill(pid, signal.SIGKILL)
    return 0


def image(words: list[str]) -> int:
    """Inspect, pull, build or remove an image: a file of its name."""
    name = words[words.index("--tag") + 1] if "--tag" in words else words[-1]
    path = HERE / "images" / name.replace("/", "_")
    if words[0] == "build":
        (HERE / "context.tar").write_bytes(sys.stdin.buffer.read())
    if words[0] in ("pull", "build"):
        path.touch()
        return 0
    if not path.exists() and path.parent.exists():
        sys.stderr.write(f"Error: No such image: {name}\n")
        return 1
    if words[1] == "rm":
        path.unlink()
        return 0
    print(json.dumps([{"Id": "sha256:1"}]))
    return 0


def main() -> int:
    """Do as docker would."""
    words = sys.argv[1:]
    with (HERE / "calls").open("a") as log:
        log.write(" ".join(words) + "\n")
    if words[:2] in (["network", "create"], ["network", "rm"]):
        path = HERE / "networks" / words[-1]
        if (words[1] == "create") == path.exists():
            return 1
        path.touch() if words[1] == "create" else path.unlink()
        return 0
    if words[0] in ("ps", "compose"):
        print("\n".join(containers()) if words[0] == "ps" else (HERE / "config.json").read_text())
        return 0
    if words[0] in ("image", "pull", "build"):
        return image(words)
    if words[0] == "info":
        print("/")
        return 0
    does = {"run": run, "exec": lambda words: execute(words[2:]), "rm": remove}
    return does[words[0]]([word for word in words[1:] if not word.startswith("--")] if words[0] == "rm" else words)


if __name__ == "__main__":
    sys.exit(main())
