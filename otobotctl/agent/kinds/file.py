"""One file: its content, mode, owner and group."""

from __future__ import annotations

import os
from typing import Any, Dict, Tuple

from otobotctl.agent import files
from otobotctl.agent.run import ProbeError, Run, StepError

TEXT_LIMIT_BYTES = 64 * 1024


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: type, mode, owner, group, sha256, and `text` where a diff may be shown.

    `text` is only there for a small UTF-8 file that is not secret and whose digest is not the wanted `sha256`.
    """
    path = params["path"]
    facts = files.describe(path)
    if facts["type"] != "file":
        return facts
    facts["sha256"] = files.digest(path)
    if not params.get("secret") and facts["sha256"] != params.get("sha256"):
        text = _text(path)
        if text is not None:
            facts["text"] = text
    return facts


def _text(path: str) -> Any:
    try:
        data = files.read(path, TEXT_LIMIT_BYTES)
        return None if data is None or b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    except OSError as error:
        raise ProbeError("cannot read {}: {}".format(path, error.strerror)) from error


def apply(params: Dict[str, Any], run: Run) -> None:
    """Make the file what `params` say; the new content appears at once or not at all."""
    path = params["path"]
    found = files.describe(path)["type"]
    if found not in ("absent", "file"):
        raise StepError("{} is a {}, not a file; remove it by hand if nothing needs it".format(path, found))
    if params.get("state") == "absent":
        files.remove(path)
        run.say("removed {}".format(path))
        return
    from otobotctl.agent.sums import sha256

    data = content(params)
    mode, owner, group = int(params["mode"], 8), params["owner"], params["group"]
    if found == "file" and files.digest(path) == sha256(data, len(data)).hexdigest():
        # Same content: keep the inode, which running programs and bind mounts hold.
        _set_attributes(path, mode, (files.uid_of(owner), files.gid_of(group)))
        return
    files.write(path, data, mode, owner, group)
    run.say("wrote {} ({} bytes)".format(path, len(data)))


def content(params: Dict[str, Any]) -> bytes:
    """The bytes that the file shall have."""
    if params.get("content_base64") is not None:
        import base64

        return base64.b64decode(params["content_base64"])
    return str(params["content"]).encode("utf-8")


def _set_attributes(path: str, mode: int, ids: Tuple[int, int]) -> None:
    try:
        with files.open_regular(path) as descriptor:
            files.set_attributes(descriptor, mode, ids)
            os.fsync(descriptor)
    except OSError as error:
        raise StepError("cannot change {}: {}".format(path, error.strerror)) from error
