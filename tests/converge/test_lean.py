"""What travels has lost what only a type checker reads, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap

import pytest

from otobotctl.converge import pack
from otobotctl.converge.lean import lean

_FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from typing import Any\ndef f(a: Any) -> Any: ...\n", "\ndef f(a: Any) -> Any: ...\n"),
        ("from typing import Any, cast\nx: Any = cast(int, 1)\n", "from typing import cast\nx: Any = cast(int, 1)\n"),
        ("from typing import (\n  Any,\n  Dict,\n)\nx: Any = 1\n", "\n\n\n\nx: Any = 1\n"),
        ("from typing import Dict\nAlias = Dict[str, int]\n", "from typing import Dict\nAlias = Dict[str, int]\n"),
        ("from typing import Any\ndef f(*a: Any, b: int = 1): return lambda: Any\n",) * 2,
        ("from typing import NamedTuple\nclass A(NamedTuple):\n    a: int\n",) * 2,
        ("from os import path\n",) * 2,
    ],
)
def test_a_name_that_only_annotations_use_goes(before, after):
    """The lines keep their numbers, so that what a host tells of a failure fits the source."""
    assert lean(_FUTURE + before) == _FUTURE + after


def test_a_module_that_reads_its_annotations_stays():
    """Without the future import they are looked up when it is loaded."""
    text = "from typing import Any\nx: Any = 1\n"
    assert lean(text) == text


def test_every_module_of_the_agent_still_finds_its_names():
    """Compiled and loaded one by one, as a host would."""
    names = [name for name in pack.sources() if not name.endswith("__init__.py")]
    for name in names:
        text = pack.sources()[name].decode()
        assert len(lean(text).split("\n")) == len(text.split("\n"))
        ast.parse(lean(text))


# Those that a look at an ordinary host's settings needs; what a kind brings along is its own affair.
_LOOKS = ("backup", "command", "directory", "file", "package", "service", "swap", "sysctl", "timer")
_SLOW = ("json", "re", "typing", "enum", "contextlib", "functools", "collections", "hashlib", "subprocess", "importlib")


def test_a_look_loads_nothing_slow(tmp_path):
    """Each of these costs every host more CPU than the question that would need it."""
    import io
    import zipfile
    import zlib

    zipfile.ZipFile(io.BytesIO(zlib.decompress(pack.archive().partition(b"\n")[2]))).extractall(tmp_path)
    program = textwrap.dedent(f"""
        import sys
        before = set(sys.modules)
        sys.path.insert(0, {str(tmp_path)!r})
        import otobotctl.agent.main
        from otobotctl.agent import observe
        for kind in {_LOOKS!r}:
            observe.kind_module(kind)
        found = observe.answers([
            {{"kind": "directory", "params": {{"path": "/"}}}},
            {{"kind": "file", "params": {{"path": "/etc/passwd", "sha256": "x"}}}},
            {{"kind": "package", "params": {{"names": ["dpkg"]}}}},
            {{"kind": "sysctl", "params": {{"path": "/x", "keys": ["vm.swappiness"]}}}},
            {{"kind": "swap", "params": {{"path": "/swapfile"}}}},
            {{"kind": "command", "params": {{"unless": ["true"]}}}},
            {{"kind": "backup", "params": {{"client": "acme", "state": "absent", "units": ["otobot-backup-acme"]}}}},
        ])
        assert all("facts" in answer for answer in found), found
        print(*sorted({set(_SLOW)!r} & (set(sys.modules) - before)))
    """)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
