"""Structs made by many threads at the same moment."""

import subprocess
import sys

MANY = """
import sys, threading
from typing import Annotated
import msgspec
from otobotctl import shapes

sys.setswitchinterval(1e-6)
WORD = Annotated[str, msgspec.Meta(pattern="^a*$")] | None
for number in range(60):
    shape = msgspec.defstruct(f"Shape{number}", [(f"field{each}", WORD, None) for each in range(30)])
    together = threading.Barrier(4)
    made = []
    def go(ask):
        together.wait()
        made.append(ask())
    asks = [lambda: shapes.convert({"field29": "a"}, shape), lambda: shapes.decode(b'{"field29": "a"}', shape)] * 2
    threads = [threading.Thread(target=go, args=(each,)) for each in asks]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.field29 for each in made] == ["a"] * 4
"""


def test_threads_that_are_the_first_to_ask_for_a_struct_wait_for_each_other():
    """With msgspec alone, a command about several hosts ended by SIGSEGV once in about ten times."""
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
