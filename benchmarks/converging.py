"""The job by otobotctl's engine, as one process: `python -m benchmarks.converging run|forget HOSTS.json`.

Prints the engine's own time, without the start of Python: {"engine_s": 0.31, "executions": 1, "changed": 0}.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import job
from otobotctl.converge.engine import converge_host
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step
from otobotctl.transport.ssh import Target, open_door


def stage() -> Stage:
    """The job as one stage."""
    steps = [_step(f"fact {i}", "command", argv=["true"], unless=list(fact)) for i, fact in enumerate(job.FACTS)]
    steps.append(_step("packages", "package", names=list(job.PACKAGES)))
    steps.append(_step("group", "group", name=job.GROUP))
    steps.append(_step("user", "user", name=job.USER, groups=[job.GROUP], system=True))
    steps += [_step(path, "directory", path=path, mode="0755") for path in job.DIRECTORIES]
    steps += [_step(f.path, "file", path=f.path, content=f.content, mode=f.mode) for f in job.FILES]
    steps.append(_step("link", "symlink", path=job.LINK, target=job.LINK_TARGET))
    steps.append(_step("line", "line", path=job.LINE_PATH, line=job.LINE))
    steps.append(_step("unit", "service", name=job.UNIT, watches=[job.UNIT_PATH]))
    return Stage("job", tuple(steps))


def _step(label: str, kind: str, /, **fields: Any) -> Step:
    return Step(f"job/{label}", msgspec.convert(fields, spec_class(kind)))


def _target(host: dict[str, Any]) -> Target:
    return Target(
        host["name"],
        host["address"],
        "root",
        host["port"],
        known_hosts=Path(host["known_hosts"]),
        identity=Path(host["key"]),
    )


def main() -> None:
    """Converge, or close the connections that were kept."""
    order, path = sys.argv[1:]
    targets = [_target(host) for host in json.loads(Path(path).read_text())]
    if order == "forget":
        for target in targets:
            open_door(target).drop()
        return
    begun = time.perf_counter()
    wanted = (stage(),)
    with ThreadPoolExecutor(len(targets)) as pool:
        jobs = [pool.submit(converge_host, partial(open_door, target), wanted, who="bench@here") for target in targets]
        results = [each.result() for each in jobs]
    print(
        json.dumps(
            {
                "engine_s": time.perf_counter() - begun,
                "executions": max(result.executions for result in results),
                "changed": max(len(result.changed) for result in results),
            }
        )
    )


if __name__ == "__main__":
    main()
