"""One apt repository: a deb822 file and the keyring that it alone is checked with."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from otobotctl.agent import files, openpgp
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import ask

SOURCES_DIR = "/etc/apt/sources.list.d"
KEYRINGS_DIR = "/etc/apt/keyrings"
OS_RELEASE = "/etc/os-release"
LIMIT_BYTES = 1 << 20


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: codename and id of the distribution, sources (text), key_sha256, fingerprints, expired (fingerprints)."""
    import hashlib

    sources = _content(sources_path(params["name"]))
    keyring = _content(keyring_path(params["name"]))
    found = _keys(keyring)
    return dict(
        distribution(),
        sources=None if sources is None else sources.decode("utf-8", "replace"),
        key_sha256=None if keyring is None else hashlib.sha256(keyring).hexdigest(),
        fingerprints=[key.fingerprint for key in found],
        expired=[key.fingerprint for key in found if key.expires is not None and key.expires <= time.time()],
    )


def apply(params: Dict[str, Any], run: Run) -> None:
    """Write the keyring, then the sources; nothing is trusted whose fingerprint is not the wanted one.

    Both are newer than apt's index afterwards, which makes the next package step read it anew.
    """
    sources, keyring = sources_path(params["name"]), keyring_path(params["name"])
    if params.get("state") == "absent":
        files.remove(sources)
        files.remove(keyring)
        run.say("removed {}".format(sources))
        return
    text = filled(params["sources"]).encode("utf-8")
    data = _wanted_key(params, _content(keyring), run)
    for path, content in ((keyring, data), (sources, text)):
        if _content(path) != content:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            files.write(path, content, 0o644, *files.me())
            run.say("wrote {}".format(path))


def sources_path(name: str) -> str:
    """The repository's deb822 file."""
    return "{}/{}.sources".format(SOURCES_DIR, name)


def keyring_path(name: str) -> str:
    """The repository's own keyring."""
    return "{}/{}.gpg".format(KEYRINGS_DIR, name)


def distribution() -> Dict[str, Any]:
    """`id` (debian, ubuntu) and `codename` (trixie) of this host; None where it does not say."""
    told = {}
    try:
        with open(OS_RELEASE, encoding="utf-8") as stream:
            for line in stream:
                name, _, value = line.strip().partition("=")
                told[name] = value.strip("\"'")
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(OS_RELEASE, error.strerror)) from error
    return {"id": told.get("ID"), "codename": told.get("VERSION_CODENAME")}


def filled(text: str) -> str:
    """`text` with {id} and {codename} of this host. Raises StepError when the host does not say."""
    for word, value in distribution().items():
        if "{" + word + "}" in text:
            if value is None:
                raise StepError("{} does not say the {} of this host; write it out".format(OS_RELEASE, word))
            text = text.replace("{" + word + "}", value)
    return text


def _content(path: str) -> Optional[bytes]:
    try:
        return files.read(path, LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(path, error.strerror or error)) from error


def _keys(keyring: Optional[bytes]) -> List[openpgp.Key]:
    try:
        return [] if keyring is None else openpgp.keys(keyring)
    except openpgp.KeyFileError:
        return []


def _expired(key: openpgp.Key) -> bool:
    return key.expires is not None and key.expires <= time.time()


def _wanted_key(params: Dict[str, Any], present: Optional[bytes], run: Run) -> bytes:
    """The bytes of the keyring, checked. Raises StepError."""
    import base64

    from otobotctl.agent.fetch import fetch  # loads the whole HTTP stack

    wanted, given = params.get("fingerprint"), params.get("key_base64") is not None
    if given:
        where, data = "the key of this repository", base64.b64decode(params["key_base64"])
    else:
        held = _keys(present)
        if present is not None and [key.fingerprint for key in held] == [wanted] and not _expired(held[0]):
            return present
        where = filled(params["key_url"])
        run.say("fetching {}".format(where))
        data = fetch(where)
    try:
        data = openpgp.dearmour(data)
        found = openpgp.keys(data)
    except openpgp.KeyFileError as error:
        raise StepError("{} is no public key file: {}".format(where, error)) from error
    if wanted is not None:
        held = [key for key in found if key.fingerprint == wanted]
        if not held or (given and len(found) > 1):
            raise StepError("{} does not hold the key {} alone; nothing was trusted".format(where, wanted))
        # Only the key that was asked for, even where a fetched file brings others along.
        found, data = held[:1], held[0].data
    _refuse_expired(found, where)
    _agree_with_gpg(data, [key.fingerprint for key in found])
    return data


def _refuse_expired(found: List[openpgp.Key], where: str) -> None:
    for key in found:
        if _expired(key):
            day = time.strftime("%Y-%m-%d", time.gmtime(key.expires))
            text = "{}: the key {} expired on {}; ask its owner for the renewed one"
            raise StepError(text.format(where, key.fingerprint, day))


def _agree_with_gpg(data: bytes, fingerprints: List[str]) -> None:
    """Where gpg is installed it must see the same keys. Raises StepError."""
    import shutil
    import tempfile

    if shutil.which("gpg") is None:
        return
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "key.gpg")
        with open(path, "wb") as stream:
            stream.write(data)
        argv = ["gpg", "--homedir", home, "--batch", "--no-options", "--with-colons", "--show-keys", path]
        answer = ask(argv)
    seen, primary = [], False
    for line in answer.stdout.splitlines():
        fields = line.split(":")
        if fields[0] in ("pub", "sub"):
            primary = fields[0] == "pub"
        elif fields[0] == "fpr" and primary:
            seen.append(fields[9])
    if seen != fingerprints:
        text = "gpg sees other keys ({}) than {}; nothing was trusted"
        raise StepError(text.format(", ".join(seen) or answer.stderr.strip()[-200:], ", ".join(fingerprints)))
