"""Playbooks: YAML to typed steps, and mistakes named where they are."""

import base64
import subprocess
from types import SimpleNamespace

import pytest

from otobotctl.data import data_dir
from otobotctl.errors import ManifestError
from otobotctl.plan import expression, playbook
from otobotctl.plan.playbook import load_playbook, parse_playbook


def release(client):
    """The variables of a release, as the workflows give them."""
    files = [{"path": "compose.yaml", "content_base64": base64.b64encode(b"name: x\n").decode()}]
    images = {"nginx": "nginx:1", "acme": "certbot/certbot:1"} if client == "front" else {}
    project = f"otobot-{client}"
    return {"client": client, "project": project, "digest": "0123456789abcdef", "files": files, "images": images}


def client(slug, *services):
    """A client as a playbook sees it."""
    return {
        "slug": slug,
        "domain": f"{slug}.example",
        "services": services,
        "tls": "acme",
        "release": release(slug),
        "provisions": [],
    }


def variables(**changes):
    """What the playbook of a client VPS is given."""
    image = {"name": "otobot/vault-api", "tag": "0123", "files": [{"path": "Dockerfile", "content": "FROM scratch\n"}]}
    given = {
        "host": SimpleNamespace(name="vps-1", docker="upstream", user="root"),
        "clients": [client("acme", "postgres", "vault-api", "nginx"), client("beta", "postgres")],
        "front": release("front"),
        "images": [image],
        "operators": [],
        "backups": [{"client": "acme", "state": "absent"}],
        "backup_packages": [],
    }
    return {**given, **changes}


def vps(**changes):
    """The steps of playbooks/vps.yaml by name."""
    stages = load_playbook(data_dir("playbooks") / "vps.yaml", variables(**changes))
    return {step.name: step.spec for stage in stages for step in stage.steps}


def parsed(text, **variables):
    """The steps of a playbook by name."""
    return {step.name: step.spec for stage in parse_playbook(text, "x.yaml", variables) for step in stage.steps}


def one_step(step):
    """A playbook with one stage and one step."""
    return f"stages:\n  - name: base\n    steps:\n      - {step}\n"


def test_the_vps_playbook_becomes_typed_steps():
    """Every step of the shipped playbook is valid, in stages that can each be looked at before they are applied."""
    stages = load_playbook(data_dir("playbooks") / "vps.yaml", variables())
    assert [stage.name for stage in stages] == [
        "base", "docker", "otobot", "operators", "hardening", "login", "images", "client-acme", "client-beta", "front",
        "certificates", "health", "backup",
    ]  # fmt: skip
    steps = vps()
    assert steps["docker/repository"].fingerprint == "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
    assert "docker-ce" in steps["docker/engine"].names
    assert steps["docker/daemon"].watches() == ("/etc/docker/daemon.json",)
    assert steps["hardening/firewall"].title() == "allow SSH, 443/tcp, 80/tcp"
    assert steps["images/otobot/vault-api"].reference() == "otobot/vault-api:0123"
    assert steps["client-beta/release"].project == "otobot-beta"
    assert steps["front/release"].client == "front"


def test_the_distributions_docker_needs_no_repository():
    """With docker: distribution the packages are the distribution's."""
    steps = vps(host=SimpleNamespace(name="vps-1", docker="distribution", user="root"))
    assert "docker/repository" not in steps
    assert "docker.io" in steps["docker/engine"].names


def test_only_clients_behind_the_proxy_get_certificates_and_are_asked_for_their_health():
    """A client without the proxy has no site."""
    steps = vps()
    assert "front/certificate-acme" in steps
    assert "front/certificate-beta" not in steps
    assert "subjectAltName=DNS:acme.example,DNS:*.acme.example" in steps["front/certificate-acme"].argv
    assert "acme.example:443:127.0.0.1" in steps["health/acme"].argv
    assert "health/beta" not in steps


def test_a_host_without_a_proxy_has_no_stage_for_it():
    """Stages without a step are left out; what asks for certificates goes, should it be there."""
    stages = load_playbook(data_dir("playbooks") / "vps.yaml", variables(front=None, clients=[], images=[]))
    assert [stage.name for stage in stages] == [
        "base",
        "docker",
        "otobot",
        "operators",
        "hardening",
        "login",
        "certificates",
        "backup",
    ]
    assert {step.spec.state for stage in stages[-2:] for step in stage.steps} == {"absent"}


def test_what_signs_itself_is_made_anew_in_its_last_month_and_what_an_authority_signed_never(tmp_path):
    """Otherwise the certificate of a client that left ACME would end, and nothing would tell."""
    own = {**client("acme", "postgres", "nginx"), "tls": "self-signed"}
    certified(tmp_path, days=10)
    assert is_kept(vps()["front/certificate-acme"], tmp_path)
    assert not is_kept(vps(clients=[own])["front/certificate-acme"], tmp_path)
    certified(tmp_path, days=40)
    assert is_kept(vps(clients=[own])["front/certificate-acme"], tmp_path)


@pytest.mark.parametrize("half", ["privkey.pem", "fullchain.pem"])
@pytest.mark.parametrize("left", [None, ""], ids=["absent", "empty"])
def test_half_a_pair_is_made_anew(tmp_path, half, left):
    """A power cut may leave one file of the two empty, and nginx starts for no client with it."""
    certified(tmp_path, days=40)
    (tmp_path / half).unlink() if left is None else (tmp_path / half).write_text(left)
    assert not is_kept(vps()["front/certificate-acme"], tmp_path)


def certified(folder, days):
    """A key and a certificate that signs itself."""
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x"]
    ends = ["-days", str(days), "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    subprocess.run(["openssl", "req", *words, *ends], check=True, capture_output=True)


def is_kept(step, folder):
    """Whether the step's question of the host, asked of this folder, says that nothing is to do."""
    *argv, where = step.unless
    assert where == "/etc/otobot/tls/acme.example"
    return subprocess.run([*argv, folder], capture_output=True, check=False).returncode == 0


def test_certificates_are_renewed_by_a_timer_only_where_certbot_is():
    """Caddy gets its own, and what signs itself needs none: there timer, script and state are absent."""
    steps = vps()
    assert steps["certificates/timer"].state == "present"
    assert steps["certificates/timer"].argv == (steps["certificates/script"].path,)
    caddy = {**release("front"), "images": {"caddy": "caddy:2"}}
    gone = {name: spec.state for name, spec in vps(front=caddy).items() if name.startswith("certificates/")}
    assert set(gone.values()) == {"absent"}
    assert len(gone) == 3


def test_dockers_settings_are_json_and_publish_on_loopback():
    """What is published without an address is not public, and logs end."""
    import json

    settings = json.loads(vps()["docker/settings"].content)
    bridge = settings["default-network-opts"]["bridge"]
    assert bridge == {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
    assert settings["log-opts"]["max-size"] == "10m"


def test_the_second_host_of_a_playbook_reads_and_compiles_nothing(monkeypatch):
    """A fleet of twenty pays once for what all of its hosts have in common."""
    path = data_dir("playbooks") / "vps.yaml"
    first = load_playbook(path, variables())
    for cache in (playbook._read, expression._compiled, expression._template):
        assert cache.cache_info().currsize
    for module, name in ((playbook, "parse_yaml"), (expression, "_environment")):
        monkeypatch.setattr(module, name, None)  # whoever calls it fails
    assert load_playbook(path, variables()) == first


def test_a_whole_expression_keeps_its_object():
    """A list stays a list and a number a number; within other text it becomes text."""
    steps = parsed(
        one_step('{name: a, package: {names: "{{ wanted }}", refresh_s: "{{ age + 1 }}"}}'),
        wanted=["curl", "git"],
        age=1,
    )
    assert (steps["base/a"].names, steps["base/a"].refresh_s) == (("curl", "git"), 2)
    steps = parsed(one_step('{name: a, package: {names: ["lib{{ age }}"]}}'), age=1)
    assert steps["base/a"].names == ("lib1",)
    steps = parsed(one_step('{name: "{{ one }}-{{ two }}", package: {names: [curl]}}'), one=1, two=2)
    assert list(steps) == ["base/1-2"]


def test_stages_and_steps_repeat():
    """for_each gives one stage or step an item, and when is asked for each."""
    text = """
stages:
  - name: "s-{{ name }}"
    for_each: {name: "{{ names }}"}
    when: name != "b"
    steps:
      - name: "{{ letter }}"
        for_each: {letter: [x, y]}
        when: letter != "y" or name == "c"
        directory: {path: "/srv/{{ name }}/{{ letter }}"}
"""
    steps = parsed(text, names=["a", "b", "c"])
    assert list(steps) == ["s-a/x", "s-c/x", "s-c/y"]
    assert steps["s-c/y"].path == "/srv/c/y"


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        ("{name: a, packages: {names: [curl]}}", "a step has no packages", "did you mean package?"),
        ("{name: a, package: {name: [curl]}}", "package: the kind package has no name", "did you mean names?"),
        ("{name: a, package: {names: curl}}", "package: Expected `array`, got `str`", None),
        ("{name: a, package: {names: [CURL]}}", "package: Expected `str` matching regex", None),
        ("{name: a, package: [curl]}", "package: the kind package must be a mapping, not list", None),
        ("{name: a, directory: {}}", "directory: Object missing required field `path`", None),
        ("{name: a, command: {argv: [ls]}}", "command: give `unless` or `creates`", None),
        ("{name: a}", "has no kind; a step has exactly one", "the kinds are: "),
        ("{name: a, directory: {path: /a}, file: {path: /b}}", "has the kinds directory and file", "the kinds are: "),
        ("{name: a, directory: {path: '/{{ nowhere }}'}}", "path: /{{ nowhere }}: 'nowhere' is undefined", None),
        ("{name: a, directory: {path: '{{ host.nam }}'}}", "path: host.nam: ", None),
        ("{name: a, directory: {path: '{{ 1 + }}'}}", "path: 1 +: ", None),
        ("{name: a, directory: {path: '{{ 1 + \"a\" }}'}}", 'path: 1 + "a": unsupported operand', None),
        ("{name: a, when: nowhere, directory: {path: /a}}", "when: nowhere: 'nowhere' is undefined", None),
        ("{name: a, for_each: [x], directory: {path: /a}}", "for_each: must be one name and one list", None),
        ("{name: a, for_each: {x: 3}, directory: {path: /a}}", "for_each: x must go over a list, not over int", None),
        ("{name: a, for_each: {host: [1]}, directory: {path: /a}}", "for_each: host is a variable already", None),
    ],
)
def test_a_mistake_names_file_stage_step_and_key(step, message, hint):
    """The operator finds the place without searching, and the word that was meant where there is one."""
    with pytest.raises(ManifestError) as error:
        parsed(one_step(step), host=SimpleNamespace(name="vps-1"))
    assert error.value.message.startswith("x.yaml: stage base: step a: ")
    assert message in error.value.message
    if hint:
        assert hint in error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "x.yaml:2: not YAML"),
        ("[]", "x.yaml: a playbook must be a mapping, not list"),
        ("stagess: []", "x.yaml: a playbook has no stagess"),
        ("stages: {}", "x.yaml: stages must be a list"),
        ("stages: [{name: a}]", "x.yaml: stage a: steps must be a list"),
        ("stages: [{steps: []}]", "x.yaml: stage without a name: needs a name"),
        ("stages: [{name: a, step: []}]", "x.yaml: stage a: a stage has no step"),
        (one_step("{directory: {path: /a}}"), "x.yaml: stage base: step without a name: needs a name"),
        (
            one_step("{name: a, for_each: {x: [1, 2]}, directory: {path: /a}}"),
            "x.yaml: stage base: there are two of the step base/a",
        ),
        (
            "stages: [{name: a, for_each: {x: [1, 2]}, steps: [{name: b, directory: {path: /a}}]}]",
            "x.yaml: there are two of the stage a",
        ),
    ],
)
def test_a_playbook_of_another_form_is_refused(text, message):
    """Whatever is in the file, the answer is one clear error."""
    with pytest.raises(ManifestError) as error:
        parsed(text)
    assert error.value.message.startswith(message)


def test_a_value_that_does_not_fit_is_not_repeated():
    """It could be part of a secret."""
    with pytest.raises(ManifestError) as error:
        parsed(one_step('{name: a, file: {path: /a, content: "{{ secret }}"}}'), secret=["hidden-value"])
    assert "hidden-value" not in f"{error.value.message} {error.value.details} {error.value.__cause__}"


def test_a_playbook_that_is_not_there_is_named(tmp_path):
    """A missing file is an error of the fleet, not a traceback."""
    with pytest.raises(ManifestError, match=r"vps\.yaml: cannot be read: No such file"):
        load_playbook(tmp_path / "vps.yaml", {})


def test_stages_of_another_playbook_are_included_as_they_are_written_there(tmp_path):
    """In the order that is asked for, with the variables of whoever includes them; what is not there is named."""
    (tmp_path / "one.yaml").write_text(
        "stages:\n"
        "  - {name: a, steps: [{name: x, directory: {path: '/{{ host }}'}}]}\n"
        "  - {name: b, steps: [{name: x, directory: {path: /b}}]}\n"
    )
    two = tmp_path / "two.yaml"
    two.write_text(
        "stages:\n  - {include: one, stages: [b, a]}\n  - {name: c, steps: [{name: x, directory: {path: /c}}]}\n"
    )
    stages = load_playbook(two, {"host": "here"})
    assert [stage.name for stage in stages] == ["b", "a", "c"]
    assert stages[1].steps[0].spec.path == "/here"
    two.write_text("stages:\n  - {include: one, stages: [d]}\n")
    with pytest.raises(ManifestError, match=r"include one: one.yaml has no stage d"):
        load_playbook(two, {})
    two.write_text("stages:\n  - {include: three, stages: [d]}\n")
    with pytest.raises(ManifestError, match=r"three.yaml: cannot be read"):
        load_playbook(two, {})


def gpu_stages(*, cpu, front):
    """The stages of playbooks/gpu.yaml."""
    from otobotctl.manifest.models import Gpu

    gpu = Gpu(domain="ia.example", email="it@ia.example", cpu=cpu, models=("mistral:7b",), driver="580-server")
    host = SimpleNamespace(name="gpu-1", docker="upstream", user="root", gpu=gpu)
    given = {"host": host, "clients": [], "front": front, "images": [], "operators": [], "ia_keys": "{}"}
    given |= {"backups": [], "backup_packages": [], "ia_pool": [], "ia_pool_digest": "", "ia_token": ""}
    return load_playbook(data_dir("playbooks") / "gpu.yaml", given)


def test_a_gpu_host_gets_its_driver_before_docker_and_one_without_a_card_neither():
    """The rest is the same; Docker hands out devices only where there are any."""
    with_card, without = gpu_stages(cpu=False, front=release("front")), gpu_stages(cpu=True, front=release("front"))
    names = [stage.name for stage in with_card]
    assert names[:6] == ["base", "card", "driver", "reboot", "toolkit", "docker"]
    own = {"card", "driver", "reboot", "toolkit", "cards"}
    assert [name for name in names if name not in own] == [stage.name for stage in without]
    steps = [{step.name: step.spec for stage in stages for step in stage.steps} for stages in (with_card, without)]
    assert ["cdi" in each["docker/settings"].content for each in steps] == [True, False]
    assert steps[0]["driver/nvidia"].branch == "580-server"
    assert "'{{.State.Error}}'" in steps[0]["cards/script"].content
    models = next(stage for stage in without if stage.name == "models")
    assert [(step.spec.name, step.spec.cpu) for step in models.steps] == [("mistral:7b", True)]
