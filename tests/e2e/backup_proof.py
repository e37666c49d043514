"""Proves a restore, knowing nothing of otobotctl: reads the record of what was committed and looks at what is back.

Run as a program, with a question in JSON on stdin:

    record      the file with one JSON object a line: at, writer, user, email, service, connection, sealed, plain
    psql        the command line of a psql in the restored database that reads statements from stdin
    flows_psql  the same in the database of n8n
    flows       {id: SHA-256 of name|nodes} of n8n's workflows
    shell       the command line that runs a line of shell, its last word, on the restored host as root
    before      Unix seconds: everything committed before must be back
    erased      ids of users who were erased: nothing of them may be back
    key         the vault's master key; token: what reads credentials by the vault's API
    client      the client's slug
    sample      how many credentials are decrypted, half by the key alone and half by the vault
    files       {path on the host: SHA-256}

It answers with JSON, {"wrong": [...], and what was counted}, and ends with 1 when anything is wrong.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ROWS = (
    "SELECT c.id, c.user_id, u.email, c.service_code, c.encrypted_api_key FROM vault.client_connections c"
    " JOIN vault.users u ON u.client_id = c.client_id AND u.id = c.user_id"
)
_API = "http://127.0.0.1:3001/api/internal/user/{user}/credentials/{service}"


def main() -> int:
    """Answer the question on stdin."""
    question = json.load(sys.stdin)
    with Path(question["record"]).open(encoding="utf-8") as lines:
        record = [json.loads(line) for line in lines]
    found = restored(question)
    wrong, counted = compare(record, found, question["before"], set(question["erased"]))
    there = sorted(found.keys() & {row["connection"]: row for row in record}.keys())
    by_id = {row["connection"]: row for row in record}
    chosen = [by_id[each] for each in random.Random(7).sample(there, min(question["sample"], len(there)))]
    half = len(chosen) // 2
    wrong += [f"the key does not open {row['connection']}" for row in chosen[:half] if not opens(question, row, found)]
    wrong += [f"the vault does not read {each}" for each in unread(question, chosen[half:])]
    wrong += [*files(question), *workflows(question)]
    counted |= {"decrypted": half, "read": len(chosen) - half}
    counted |= {"files": len(question["files"]), "workflows": len(question["flows"])}
    print(json.dumps({"wrong": wrong[:20], **counted}))
    return int(bool(wrong))


def restored(question: dict[str, Any]) -> dict[str, list[str]]:
    """Every connection that is there, by its id: user, email, service, and the stored text."""
    copied = run(question["psql"], f"COPY ({_ROWS}) TO STDOUT;\n")
    rows = (line.split("\t") for line in copied.splitlines())
    return {row[0]: row[1:] for row in rows}


def compare(
    record: list[dict[str, Any]], found: dict[str, list[str]], before: float, erased: set[str]
) -> tuple[list[str], dict[str, int]]:
    """What is lost, altered, not erased, or there though nobody committed it; and how much was looked at."""
    wrong: list[str] = []
    counted = {"committed": 0, "later": 0, "gone": 0, "rows": len(found)}
    for row in record:
        there = found.get(row["connection"])
        if row["user"] in erased:
            counted["gone"] += 1
            if there is not None:
                wrong.append(f"{row['connection']} is back, of somebody who was erased")
            continue
        if there is None and row["at"] < before:
            wrong.append(f"{row['connection']} is lost, committed {before - row['at']:.2f} s before the archive")
        if there is not None:
            counted["committed" if row["at"] < before else "later"] += 1
            sealed = hashlib.sha256(there[3].encode()).hexdigest()
            if [*there[:3], sealed] != [row["user"], row["email"], row["service"], row["sealed"]]:
                wrong.append(f"{row['connection']} is another one")
    unknown = found.keys() - {row["connection"] for row in record}
    # A transaction may have been committed and its answer lost with the host: one for each writer.
    counted["unknown"] = len(unknown)
    wrong += gaps(record, found, erased)
    return wrong, counted


def gaps(record: list[dict[str, Any]], found: dict[str, list[str]], erased: set[str]) -> list[str]:
    """One who writes in turn: where a later row is back, so is every earlier one. Else it is of no one moment."""
    wrong: list[str] = []
    lost: dict[str, str] = {}
    for row in record:
        if row["user"] in erased:
            continue
        if row["connection"] not in found:
            lost.setdefault(row["writer"], row["connection"])
        elif row["writer"] in lost:
            wrong.append(f"{row['connection']} is back, and {lost[row['writer']]} before it is not")
    return wrong


def opens(question: dict[str, Any], row: dict[str, Any], found: dict[str, list[str]]) -> bool:
    """Whether the stored text opens with the key, by nothing but AES-256-GCM, and is what was stored."""
    version, nonce, tag, cipher = found[row["connection"]][3].split(":")
    place = ["otobot-vault", int(version), question["client"], row["user"], row["service"], row["connection"]]
    bound = json.dumps([*place, "encrypted_api_key"], separators=(",", ":")).encode()
    try:
        plain = AESGCM(bytes.fromhex(question["key"])).decrypt(
            bytes.fromhex(nonce), bytes.fromhex(cipher) + bytes.fromhex(tag), bound
        )
    except InvalidTag:
        return False
    return hashlib.sha256(plain).hexdigest() == row["plain"]


def unread(question: dict[str, Any], chosen: list[dict[str, Any]]) -> list[str]:
    """The connections whose credential the vault does not give to who may have it."""
    asked = "".join(f'url = "{_API.format(user=row["user"], service=row["service"])}"\n' for row in chosen)
    asked += f'header = "x-node-token: {question["token"]}"\nwrite-out = "\\n"\n'
    said = run([*question["shell"], "curl --silent --config -"], asked).splitlines()
    return [row["connection"] for row, answer in zip(chosen, said, strict=True) if not right(answer, row)]


def right(answer: str, row: dict[str, Any]) -> bool:
    """Whether the vault's answer has the credential that was stored."""
    try:
        value = json.loads(answer)["credentials"]["apiKey"]
    except (ValueError, KeyError):
        return False
    return hashlib.sha256(value.encode()).hexdigest() == row["plain"]


def files(question: dict[str, Any]) -> list[str]:
    """The files that are absent or other ones."""
    if not question["files"]:
        return []
    names = " ".join(f"'{path}'" for path in question["files"])
    said = run([*question["shell"], f"sha256sum --zero -- {names} 2>/dev/null || true"], "").split("\0")
    found = {line.partition("  ")[2]: line.partition("  ")[0] for line in said}
    return [f"{path} is not what it was" for path, digest in question["files"].items() if found.get(path) != digest]


def workflows(question: dict[str, Any]) -> list[str]:
    """The workflows that are absent or other ones."""
    rows = run(question["flows_psql"], "COPY (SELECT id, name || '|' || nodes::text FROM workflow_entity) TO STDOUT;\n")
    found = dict(line.split("\t", 1) for line in rows.splitlines())
    digests = {ident: hashlib.sha256(text.encode()).hexdigest() for ident, text in found.items()}
    return [
        f"the workflow {ident} is not what it was"
        for ident, digest in question["flows"].items()
        if digests.get(ident) != digest
    ]


def run(argv: list[str], told: str) -> str:
    """What a program says."""
    done = subprocess.run(argv, input=told, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
