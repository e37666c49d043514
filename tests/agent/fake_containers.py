#!/usr/bin/python3 -SE
"""Stands in for docker where containers are replaced one by one: $FAKE/containers has a JSON object a container.

A release with a file "fails" does not become healthy. Whenever nothing of a service `api` answers that did before,
$FAKE/away gets a line.
"""

# ruff: noqa: PTH104, PTH110, PTH123, C901, PLR0911
# It is started thousands of times: pathlib would double what that takes.
import json
import os
import sys

FAKE = os.environ["FAKE"]
PATH = FAKE + "/containers"


def read():
    try:
        with open(PATH) as file:
            return json.load(file)
    except FileNotFoundError:
        return []


def write(found):
    with open(PATH + ".new", "w") as file:
        json.dump(found, file)
    os.rename(PATH + ".new", PATH)


def well(found):
    return any(each["service"] == "api" and each["status"].endswith("(healthy)") for each in found)


def note(line):
    with open(FAKE + "/away", "a") as file:
        file.write(line + "\n")


def model(directory):
    with open(directory + "/compose.yaml") as file:
        return json.load(file)


def made(service, directory, stand_in):
    body = model(directory)["services"][service]
    digest = body.get("labels", {}).get("otobot.digest", body["image"])
    status = "Up 1 second (healthy)"
    if service == "init":
        status = "Exited (0) 1 second ago"
    elif service == "api" and os.path.exists(directory + "/fails"):
        status = "Exited (1) 1 second ago"
    name = service + ("-next" if stand_in else "") + digest
    return {"id": name, "service": service, "digest": digest, "stand_in": stand_in, "status": status}


def up(directory):
    found = read()
    for service in model(directory)["services"]:
        new = made(service, directory, False)
        there = [each for each in found if each["service"] == service and not each["stand_in"]]
        if [each["digest"] for each in there] == [new["digest"]] and there[0]["status"].startswith(
            ("Up", "Exited (0)")
        ):
            continue
        answered = well(found)
        found = [each for each in found if each not in there]
        if service == "api" and answered and not well(found):
            note("replaced without a stand-in")
        found.append(new)
        write(found)
    return 0 if not os.path.exists(directory + "/fails") else 1


def ps():
    for each in read():
        mark = "yes" if each["stand_in"] else ""
        print("\t".join([each["id"], each["service"], each["digest"], mark, each["status"]]))


def compose_ps():
    for each in read():
        if not each["stand_in"]:
            state = "running" if each["status"].startswith("Up") else "exited"
            health = "healthy" if each["status"].endswith("(healthy)") else ""
            code = 1 if "(1)" in each["status"] else 0
            print(json.dumps({"Service": each["service"], "State": state, "Health": health, "ExitCode": code}))


def main(words):
    with open(FAKE + "/calls", "a") as file:
        file.write(" ".join(words) + "\n")
    if words[:2] == ["ps", "--all"]:
        return ps()
    if words[0] in {"stop", "rm"}:
        found = read()
        left = [each for each in found if each["id"] not in words]
        if well(found) and not well(left):
            note("the last that answered was removed")
        return write(left)
    if words[0] == "image":
        return 0
    if words[0] == "inspect":
        return print(0)
    if words[0] != "compose":
        return None
    directory = words[words.index("--project-directory") + 1] if "--project-directory" in words else ""
    if "config" in words:
        return print(json.dumps(model(directory)))
    if "run" in words:
        return write([*read(), made(words[-1], directory, True)])
    if "up" in words:
        return up(directory) if "--wait" in words else None
    if "ps" in words:
        return compose_ps()
    return None


sys.exit(main(sys.argv[1:]) or 0)
