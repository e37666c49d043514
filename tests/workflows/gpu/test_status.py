"""What is made of a GPU host's answer, without a host."""

import json

from otobotctl.cli.human import gpu as human
from otobotctl.cli.human.fleet import Unseen
from otobotctl.errors import HostUnreachableError, PartialError
from otobotctl.fleet import Fleet
from otobotctl.manifest.models import Gpu
from otobotctl.workflows.gpu import status, usage
from otobotctl.workflows.gpu.status import judged
from otobotctl.workflows.gpu.traffic import Flight

GIB = 1 << 30
CARD = {
    "uuid": "GPU-1",
    "name": "NVIDIA L4",
    "driver_version": "580.82.07",
    "pstate": "P0",
    "index": 0.0,
    "temperature.gpu": 41.0,
    "utilization.gpu": 97.0,
    "memory.total": 23034.0,
    "memory.used": 14221.0,
    "power.draw": 71.0,
    "power.limit": 72.0,
    "ecc.errors.uncorrected.volatile.total": 0.0,
    "mig.mode.current": "Disabled",
    "trouble": "",
}


def facts(**changes):
    model = {"name": "gemma2:27b", "size": 16 * GIB, "digest": "sha"}
    return {
        "version": "0.32.15",
        "models": [model],
        "loaded": [],
        "error": "",
        "cards": [CARD],
        "memory": {"total": 90 * GIB, "available": 45 * GIB},
        "disk": {"total": 400 * GIB, "free": 300 * GIB},
        "metered": {"in_flight": [], "lost": 0, "recent": {}, "error": ""},
        **changes,
    }


def seen(*, cpu=False, models=("gemma2:27b",), **changes):
    return judged("gpu-1", Gpu(domain="ia.example", email="a@b.example", cpu=cpu, models=models), facts(**changes))


def test_a_host_that_is_well_has_no_warning():
    """And everything is on the screen."""
    found = seen()
    assert found.warnings == ()
    shown = human.status([found])
    for word in ("NVIDIA L4", "14221 of 23034 MiB", "97 %", "41 C", "71 of 72 W", "gemma2:27b", "16.0G", "300G"):
        assert word in shown


def test_a_model_that_spills_onto_the_processor_is_told():
    """With how much of it; not where there is no card to be on."""
    loaded = [{"name": "gemma2:27b", "size": 20 * GIB, "size_vram": 15 * GIB}]
    assert "25% of it is on the processor" in seen(loaded=loaded).warnings[0]
    assert "25% on the processor" in human.status([seen(loaded=loaded)])
    assert seen(loaded=loaded, cpu=True, cards=[]).warnings == ()


def test_vllm_tells_its_queue():
    """How many requests it works on and how many wait; a model of another name is missing."""
    gpu = Gpu(domain="ia.example", email="a@b.example", engine="vllm", models=("a/b@main",))
    served = {"models": [{"name": "a/b", "size": 0, "digest": ""}], "requests": {"running": 3, "waiting": 2}}
    found = judged("gpu-1", gpu, facts(**served))
    assert (found.warnings, found.running, found.waiting) == ((), 3, 2)
    assert "requests: 3 running, 2 waiting" in human.status([found])
    served["models"] = [{"name": "a/c", "size": 0, "digest": ""}]
    assert "a/b is not there" in judged("gpu-1", gpu, facts(**served)).warnings[0]
    assert "vLLM does not answer" in judged("gpu-1", gpu, facts(error="refused", version="")).warnings[0]


def test_what_is_missing_or_wrong_is_told():
    """A model of the list, a card, heat, errors, the disk, Ollama itself."""
    assert "mistral:7b is not there" in seen(models=("gemma2:27b", "mistral:7b")).warnings[0]
    assert "no card answers" in seen(cards=[]).warnings[0]
    hot = {**CARD, "temperature.gpu": 88.0, "ecc.errors.uncorrected.volatile.total": 2.0, "power.draw": None}
    assert [word for word in ("88 degrees", "2 memory errors") if word in "".join(seen(cards=[hot]).warnings)] != []
    assert len(seen(cards=[hot]).warnings) == 2
    [lost] = seen(cards=[{**CARD, "trouble": "GPU is lost"}]).warnings
    assert lost.startswith("gpu-1: NVIDIA L4 cannot be used: GPU is lost")
    assert "nvidia-smi -mig 0" in seen(cards=[{**CARD, "mig.mode.current": "Enabled"}]).warnings[0]
    assert "? of 72 W" in human.status([seen(cards=[hot])])
    assert "10 GiB are free" in seen(disk={"total": 400 * GIB, "free": 10 * GIB}).warnings[0]
    silent = seen(error="refused", version="", models=("gemma2:27b",))
    assert "Ollama does not answer: refused" in silent.warnings[0]
    assert silent.models == ()


def test_what_is_under_way_waits_and_was_asked_today_is_told():
    """What is more than a model answers at once waits; a name without a tag is the latest."""
    flying = [
        {"caller": "acme/librechat", "model": "mistral", "requests": 2, "begun": 2},
        {"caller": "beta/n8n", "model": "mistral:latest", "requests": 3, "begun": 0},
        {"caller": "beta/n8n", "model": "", "requests": 1, "begun": 0},
    ]
    span = {"requests": 40, "failed": 1, "tokens_in": 12_000, "tokens_out": 345}
    recent = {"acme/librechat": {"hour": {**span, "requests": 4}, "day": span}}
    facts_ = facts(metered={"in_flight": flying, "lost": 0, "recent": recent, "error": ""})
    found = judged("gpu-1", Gpu(domain="ia.example", email="a@b.example", models=("gemma2:27b",)), facts_, 2)
    assert found.flights == (Flight("", 1, 0, 0), Flight("mistral:latest", 5, 2, 3))
    assert [(each.client, each.purpose, each.in_flight, each.day.requests) for each in found.askers] == [
        ("acme", "librechat", 2, 40),
        ("beta", "n8n", 4, 0),
    ]
    shown = human.status([found])
    for said in ("mistral:latest: 5 under way, 3 of them wait", "a model not told yet: 1 under way", "12.3k"):
        assert said in shown
    assert found.warnings == ()


def test_a_meter_that_is_not_there_or_loses_lines_is_told():
    """With the command that puts it right."""
    gone = seen(metered={"in_flight": [], "lost": 0, "recent": {}, "error": "No such file or directory"})
    assert "the meter does not answer: No such file or directory" in gone.warnings[0]
    assert "otobotctl gpu setup gpu-1" in gone.warnings[0]
    full = seen(metered={"in_flight": [], "lost": 3, "recent": {}, "error": ""})
    assert "could not write 3 lines" in full.warnings[0]


def test_a_host_that_is_away_hides_no_other(tmp_path, monkeypatch):
    """Those that answer are shown, and the error names the other one."""
    gpu = {"domain": "ia.example", "email": "a@b.example", "cpu": True, "models": ["gemma2:27b"]}
    hosts = {f"gpu-{n}": {"address": f"10.9.0.{n}", "stack": "gpu", "gpu": gpu} for n in (1, 2)}
    (tmp_path / "clients-config.json").write_text(json.dumps({"version": 1, "hosts": hosts}))

    def looked(_, name, password):
        if name == "gpu-2":
            raise HostUnreachableError("no answer", hint="look at it")
        return facts(cards=[])

    monkeypatch.setattr(status, "looked", looked)
    found, error = status.status(Fleet(tmp_path), None, Unseen())
    assert error.exit_code == PartialError.exit_code
    assert [(each.host, each.version, each.error is None) for each in found] == [
        ("gpu-1", "0.32.15", True),
        ("gpu-2", "", False),
    ]
    assert human.status(found).endswith("gpu-2: could not be asked")
    [alone], error = status.status(Fleet(tmp_path), "gpu-2", Unseen())
    assert (alone.error["message"], error.exit_code) == ("no answer", HostUnreachableError.exit_code)


def test_usage_says_whose_share_is_missing(tmp_path, monkeypatch):
    """What the others counted is there, and nobody takes it for everything."""
    gpu = {"domain": "ia.example", "email": "a@b.example", "cpu": True, "models": ["gemma2:27b"]}
    hosts = {f"gpu-{n}": {"address": f"10.9.0.{n}", "stack": "gpu", "gpu": gpu} for n in (1, 2)}
    (tmp_path / "clients-config.json").write_text(json.dumps({"version": 1, "hosts": hosts}))

    def asked(_, name, *more):
        if name == "gpu-2":
            raise HostUnreachableError("no answer", hint="look at it")
        return {"rows": [], "models": [], "unread": 0, "ends": []}

    monkeypatch.setattr(usage, "asked", asked)
    found, error = usage.usage(Fleet(tmp_path), "2026-11", None, Unseen())
    assert found.warnings == ("gpu-2 could not be asked, what it counted is missing",)
    assert error.exit_code == PartialError.exit_code
