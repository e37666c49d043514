"""The text of `python3 -c`: finds the kept agent, or takes one from stdin, and runs the request. Never imported."""

import _signal as signal  # type: ignore[import-not-found]
import os
import sys

if sys.version_info < (3, 8):
    sys.exit(89)
digest, state, runtime = sys.argv[1:4]
signal.signal(signal.SIGALRM, lambda *_: os.write(1, b'{"beat":true}\n'))
signal.setitimer(signal.ITIMER_REAL, 3, 3)
kept = state + "/agent/" + digest
if os.path.isdir(kept):
    os.write(1, b'{"ready":true}\n')
    request = sys.stdin.buffer.readline()
    sys.path.insert(0, kept)
else:
    os.write(1, b'{"need":"agent"}\n')
    request = sys.stdin.buffer.readline()
    import zlib

    size = int(sys.stdin.buffer.readline())
    memory = os.memfd_create("agent")
    with os.fdopen(memory, "wb", closefd=False) as archive:
        archive.write(zlib.decompress(sys.stdin.buffer.read(size)))
    sys.path.insert(0, "/proc/self/fd/%d" % memory)

from otobotctl.agent.main import main  # noqa: E402 the line above makes it findable

main(request, kept, state, runtime)
