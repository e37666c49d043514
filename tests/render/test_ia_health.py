"""The health checks of IA Interne's own services, as their containers run them, against the real programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.render.test_nginx import free_port
from tests.waiting import until

SERVICES = Path(__file__).parents[2] / "templates/services"


@pytest.mark.parametrize(("service", "program"), [("ia-gate", "gate.py"), ("ia-meter", "meter.py")])
def test_a_service_is_well_while_it_answers_and_not_once_it_has_ended(service, program, tmp_path):
    """The words of service.yaml, with another port: 0 while it runs, else 1, and nothing but a socket is loaded."""
    port = str(free_port())
    words = yaml.safe_load((SERVICES / service / "service.yaml").read_text())["health"]["test"]
    check = [sys.executable, *(word.replace("8080", port) for word in words[1:])]
    assert "urllib" not in check[-1]
    (tmp_path / "keys.json").write_text('{"callers": []}')
    own = {"IA_KEYS": str(tmp_path / "keys.json"), "IA_LISTEN": "127.0.0.1", "IA_PORT": port}
    own |= {"METER_ENGINE": "127.0.0.1:1", "METER_LOGS": str(tmp_path), "METER_LISTEN": "127.0.0.1", "METER_PORT": port}
    argv = [sys.executable, "-B", str(SERVICES / service / program)]
    running = subprocess.Popen(argv, env={"PATH": os.environ["PATH"], **own}, stdout=subprocess.DEVNULL)
    try:

        def healthy():
            assert running.poll() is None
            return subprocess.run(check, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0

        until(healthy, program)
    finally:
        running.terminate()
        running.wait(60)
    assert subprocess.run(check, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 1
