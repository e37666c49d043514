"""What travels to a host."""

from __future__ import annotations

import ast
import io
import threading
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

from otobotctl.converge import pack
from otobotctl.converge.lean import lean


def unpacked():
    length, _, squeezed = pack.archive().partition(b"\n")
    assert int(length) == len(squeezed)
    return zipfile.ZipFile(io.BytesIO(zlib.decompress(squeezed)))


def test_the_same_sources_give_the_same_bytes():
    """The digest names the sources, whatever the clock and the file system say."""
    digest, archive = pack.digest(), pack.archive()
    for made in (pack.sources, pack.digest, pack._archive):
        made.cache_clear()
    assert (digest, archive) == (pack.digest(), pack.archive())


def test_a_fleet_makes_it_once(monkeypatch):
    """Hosts that ask at once get the same bytes of one making: parsers side by side end with SystemError."""
    made, busy = [], threading.Lock()

    def squeezed(text: str) -> str:
        assert busy.acquire(blocking=False)
        made.append(text)
        time.sleep(0.001)
        busy.release()
        return lean(text)

    monkeypatch.setattr("otobotctl.converge.lean.lean", squeezed)
    pack._archive.cache_clear()
    with ThreadPoolExecutor(4) as hosts:
        got = [each.result() for each in [hosts.submit(pack.archive) for _ in range(8)]]
    assert len(set(got)) == 1
    assert len(made) == len(pack.sources())


def test_only_the_agent_travels():
    """Its own modules and an empty package above them: nothing of the operator's half."""
    names = unpacked().namelist()
    assert unpacked().read("otobotctl/__init__.py") == b""
    assert {"otobotctl/agent/main.py", "otobotctl/agent/kinds/file.py"} < set(names)
    assert all(name.startswith("otobotctl/agent/") for name in names if name != "otobotctl/__init__.py")
    assert "otobotctl/agent/boot.py" not in names


def test_the_agent_is_python_3_8():
    """Every module parses as the oldest Python that a host may have."""
    with unpacked() as archive:
        for name in archive.namelist():
            ast.parse(archive.read(name), name, feature_version=(3, 8))
    ast.parse(pack.boot_text(), feature_version=(3, 8))


def test_the_command_is_small():
    """A no-op costs one execution of few bytes."""
    assert sum(map(len, pack.command(with_password=False))) < 2500
