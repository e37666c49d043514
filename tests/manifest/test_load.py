"""From bytes to models, or every reason why not."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otobotctl import manifest
from otobotctl.errors import ManifestError
from tests.manifest.sample import SERVICES, encoded, right


def said(document):
    """Each finding as the operator reads it."""
    return [str(finding) for finding in manifest.findings(encoded(document), "clients-config.json", SERVICES)]


def test_a_right_manifest_becomes_models(tmp_path):
    """What is in the file is in the models, and nothing is found."""
    path = tmp_path / "clients-config.json"
    path.write_bytes(encoded(right()))
    loaded = manifest.load(path, SERVICES)
    assert loaded.hosts["vps-1"].jump == "gate"
    assert loaded.clients["bold"].services == ("nginx", "postgres")
    assert loaded.clients["acme"].users[0].role == "admin"
    assert said(right()) == []


def test_every_error_comes_in_one_go_and_in_the_files_order(tmp_path):
    """Types, unknown keys and cross-checks are reported together, ordered as they stand in the file."""
    document = right()
    document["compny"] = "x"
    document["hosts"]["vps-1"].update(port="22", jump="gat")
    document["clients"]["acme"].update(domain="acme", enviroment="dev")
    document["clients"]["bold"].update(host="vps-2", users=[{"name": "B"}])
    path = tmp_path / "clients-config.json"
    path.write_bytes(encoded(document))
    with pytest.raises(ManifestError) as caught:
        manifest.load(path, SERVICES)
    assert list(caught.value.details) == [
        'hosts.vps-1.jump: there is no host "gat"; did you mean "gate"?',
        "hosts.vps-1.port: expected a whole number, found text; take the quotes away",
        'clients.acme.domain: "acme" is not a domain name; write it like acme.example',
        'clients.acme.enviroment: unknown key "enviroment"; did you mean "environment"?',
        'clients.bold.host: there is no host "vps-2"; did you mean "vps-1"?',
        "clients.bold.users[0].email: is missing; write it (An e-mail address)",
        'compny: unknown key "compny"; did you mean "company"?',
    ]
    assert str(caught.value) == "clients-config.json: 7 findings"
    assert "manifest validate" in caught.value.hint
    assert caught.value.exit_code == 10


def change(*path_and_value):
    """An edit of the right manifest: set the value at a path."""
    *path, last, value = path_and_value

    def apply(document):
        for part in path:
            document = document[part]
        document[last] = value

    return apply


ACME = ("clients", "acme")
POSTGRES = (*ACME, "settings", "postgres")


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (change("version", "1"), "version: expected a whole number, found text; take the quotes away"),
        (change("version", 0), "version: there is no version 0; write 1"),
        (change("hosts", []), "hosts: expected an object, found a list; write an object there"),
        (change("company", " "), "company: is blank; write it on one line"),
        (change("company", 3), 'company: expected text, found a whole number; put it in quotes: "3"'),
        (change(*ACME, None), "clients.acme: expected an object, found null; leave the key out"),
        (change(*ACME, "index", 1), None),
        (change(*ACME, "domain", "BOLD.example."), "clients.bold.domain: bold.example is clients.acme's"),
        (
            change(*ACME, "domain", "n8n.bold.example"),
            "clients.acme.domain: n8n.bold.example is the name of a service of clients.bold",
        ),
        (change(*ACME, "environment", "prd"), 'clients.acme.environment: "prd" is not a choice; did you mean "prod"?'),
        (change(*ACME, "environment", 3), "clients.acme.environment: "),
        (change(*ACME, "services", "nginx"), 'clients.acme.services: expected a list, found text; put it in brackets: ["nginx"]'),
        (change(*ACME, "services", ["ngix"]), 'clients.acme.services[0]: there is no service "ngix"; did you mean "nginx"?'),
        (change(*ACME, "services", ["nginx", "nginx"]), 'clients.acme.services[1]: "nginx" is there twice; keep one'),
        (change(*ACME, "settings", {"postgre": {}}), 'clients.acme.settings.postgre: there is no service "postgre"; did you mean "postgres"?'),
        (change(*POSTGRES, "memry", "1g"), 'postgres has no setting "memry"; did you mean "memory"?'),
        (change(*POSTGRES, "version", 16.4), 'expected text, found a number; put it in quotes: "16.4"'),
        (change(*POSTGRES, "memory", "1 GB"), '"1 GB" is not of the form [0-9]+[mg]; such as 1g'),
        (change(*POSTGRES, "connections", "100"), "expected a whole number, found text; take the quotes away"),
        (change(*POSTGRES, "connections", True), "expected a whole number, found true or false"),
        (change(*POSTGRES, "connections", 0), "0 is not of the form [1-9][0-9]*"),
        (change(*POSTGRES, "tls", "yes"), "expected true or false, found text"),
        (change(*POSTGRES, "locale", "fr"), '"fr" is not a choice'),
        (change(*POSTGRES, "extensions", "x"), "expected a list, found text"),
        (change(*POSTGRES, "version", {}), "clients.acme.settings.postgres.version: expected"),
        (change(*ACME, "users", [{"email": "a@b.fr"}, {"email": "A@b.fr"}]), "clients.acme.users[1].email: A@b.fr is users[0] already; keep one"),
        (change(*ACME, "users", [{"email": "a@b.fr", "role": "boss"}]), 'clients.acme.users[0].role: "boss" is not a choice; known: admin, user'),
        (change(*ACME, "backup", {"keep_daily": "3"}), "clients.acme.backup.keep_daily: expected a whole number, found text"),
        (change(*ACME, "index", -1), "clients.acme.index: -1 is out of range; write 0 to 99"),
        (change("hosts", "A B", {"address": "a"}), 'hosts["A B"]: "A B" is not a slug'),
        (change("hosts", "vps-1", "port", 70000), "hosts.vps-1.port: 70000 is out of range; write 1 to 65535"),
        (change("hosts", "vps-1", "tags", ["EU west"]), "hosts.vps-1.tags[0]: "),
        (change("hosts", "vps-2", {"address": "203.0.113.9"}), "hosts.vps-2.address: 203.0.113.9 port 22 is hosts.gate already"),
        (change("hosts", "gate", "jump", "vps-1"), "hosts.gate.jump: goes in a circle: gate -> vps-1 -> gate"),
        (change("hosts", "gate", "jump", "gate"), "hosts.gate.jump: goes in a circle: gate -> gate"),
        (change("environments", "prd", {}), 'environments.prd: there is no environment "prd"; did you mean "prod"?'),
        (change("defaults", "services", ["ngix"]), "defaults.services[0]: "),
        (change("defaults", "timezone", "Europe/Pari"), "defaults.timezone: "),
        (change("recipients", ["age1x"]), "recipients[0]: is not a whole age key"),
    ],
)  # fmt: skip
def test_each_error_says_where_what_and_what_to_do(edit, finding):
    """One thing wrong gives one finding, with its JSON path and a remedy."""
    document = right()
    edit(document)
    found = said(document)
    assert len(found) == 1
    assert (finding or 'clients.bold.index: slot 1 of vps-1 is clients.acme\'s; write "index": 0') in found[0]


def test_the_same_private_address_behind_two_jump_hosts_is_two_machines():
    """Duplicate addresses are told by address, port and way."""
    document = right()
    document["hosts"]["a"] = {"address": "10.0.0.5", "jump": "gate"}
    document["hosts"]["b"] = {"address": "10.0.0.5"}
    assert said(document) == []
    document["hosts"]["c"] = {"address": "10.0.0.5", "port": 2222}
    assert said(document) == []
    document["hosts"]["d"] = {"address": "10.0.0.5", "jump": "gate"}
    assert len(said(document)) == 1


def test_a_recipient_may_not_be_there_twice():
    """The comment does not make another key."""
    document = right()
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK9G3K0+J6dv05K45i8Bdf92lr5L+sHlTfbqGM4ybkb7"
    document["recipients"] = [f"{key} a@x", f"{key} b@x"]
    assert said(document) == ["recipients[1]: is the same key as recipients[0]; keep one"]


def test_a_manifest_from_the_future_gives_one_finding():
    """What this version cannot know is not judged."""
    found = said({"version": 2, "planets": {}})
    assert len(found) == 1
    assert found[0].startswith("version: this manifest needs a newer otobotctl")


def test_without_a_catalogue_services_are_not_judged():
    """Names and settings of services pass when nobody says which exist."""
    document = right()
    document["clients"]["acme"]["services"] = ["anything"]
    assert manifest.findings(encoded(document), "x") == ()


def test_a_key_written_twice_is_found_although_json_allows_it():
    """A duplicate slug would silently lose a client."""
    raw = encoded(right()).replace(b'"bold": {', b'"acme": {', 1)
    found = [str(finding) for finding in manifest.findings(raw, "x", SERVICES)]
    assert found == ["clients.acme: is there twice; keep one: the first is silently lost"]
    with pytest.raises(ManifestError):
        manifest.decode(raw, "x", SERVICES)


@pytest.mark.parametrize(
    ("raw", "message", "hint"),
    [
        (b"", "is empty", "git restore"),
        (b" \n", "is empty", "git restore"),
        (b"\xef\xbb\xbf{}", "byte order mark", "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "byte order mark", "UTF-8"),
        (b'{\n"a": "\xff"}', "is not UTF-8 (line 2)", "UTF-8"),
        (b'{\n  "version": 1,\n}', "line", "take out the comma"),
        (b'{\n  "version": 1 // one\n}', "at line 2, column 16", "no comments"),
        (b"{'version': 1}", "line 1, column 2", "double quotes"),
        (b'{"version": 1', "line 1", "ends too early"),
        (b'{"version": 1\n "hosts": {}}', "line 2, column 2", "comma missing"),
        (b'{"version": NaN}', "NaN is not a JSON number", "write a number"),
        (b"[1]", "holds a list, not an object", "otobotctl init"),
        (b"[" * 100_000, "nested too deeply", "levels"),
    ],
)
def test_what_is_not_json_is_said_in_words(raw, message, hint):
    """Broken text names the line and column and the likely cause."""
    with pytest.raises(ManifestError) as caught:
        manifest.decode(raw, "clients-config.json")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_cannot_be_read_is_said_in_words(tmp_path):
    """A missing file and a directory are errors of the operator's kind, not tracebacks."""
    with pytest.raises(ManifestError, match="does not exist"):
        manifest.load(tmp_path / "none")
    with pytest.raises(ManifestError, match="is a directory"):
        manifest.load(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ManifestError, match="cannot be read"):
        manifest.load(loop)


def test_loading_a_right_manifest_imports_nothing_heavy(tmp_path):
    """The fast path leaves the libraries that explain, seal and show alone."""
    path = tmp_path / "clients-config.json"
    path.write_bytes(encoded(right()))
    script = (
        "import sys, pathlib; from otobotctl import manifest;"
        "manifest.resolve(manifest.load(pathlib.Path(sys.argv[1])));"
        "heavy = {'jsonschema', 'difflib', 'yaml', 'pyrage', 'typer', 'rich', 'jinja2', 'tempfile'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _places(value, path=()):
    """Every path in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from _places(inner, (*path, name))


LEAVES = st.sampled_from([None, True, 3, -1, 2.5, 22.0, 1e300, "x", "3", [], [1], ["x"], {}, {"x": 1}, [{}], [None]])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([path for path in _places(right()) if path]), LEAVES)
def test_what_does_not_decode_is_always_explained(path, leaf):
    """The models and the explanation agree: no wrong value passes, and none is left to a library's own words."""
    document = right()
    change(*path, leaf)(document)
    raw = encoded(document)
    try:
        manifest.decode(raw, "x", SERVICES)
    except ManifestError as error:
        shown = [str(finding) for finding in manifest.findings(raw, "x", SERVICES)]
        assert shown == list(error.details)
        assert all("manifest schema" not in line and "`" not in line and ": " in line for line in shown)
    else:
        assert manifest.findings(raw, "x", SERVICES) == ()
