"""The catalogue: what is shipped fits together, and what would not is refused."""

import shutil

import pytest
import yaml

from otobotctl.data import data_dir
from otobotctl.errors import ManifestError
from otobotctl.render.catalog import load_catalog
from otobotctl.render.image import read_context
from tests.render.sample import catalog


@pytest.fixture
def templates(tmp_path):
    """A copy of the templates, to spoil."""
    return shutil.copytree(data_dir("templates"), tmp_path / "templates")


def edit(templates, service, **keys):
    """Change keys of one service.yaml."""
    path = templates / "services" / service / "service.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))


def refused(templates):
    """Why a catalogue is not loaded."""
    with pytest.raises(ManifestError) as error:
        load_catalog(templates)
    return "\n".join([error.value.message, *error.value.details])


def test_every_secret_of_the_services_is_known_with_its_kind():
    """The names that operators know, the kinds that the services need, and who owns each."""
    specs = {spec.name: spec for spec in catalog().secret_specs(("postgres", "vault-api", "token-refresher", "nginx"))}
    assert {name: spec.kind for name, spec in specs.items()} == {
        "POSTGRES_PASSWORD": "password",
        "ENCRYPTION_MASTER_KEY": "hex32",
        "N8N_INTERNAL_TOKEN": "base64url48",
        "N8N_WEBHOOK_SECRET": "base64url48",
        "N8N_NODE_TOKEN": "base64url48",
        "API_JWT_SECRET": "base64url48",
        "AUDIT_HMAC_KEY": "hex32",
        "VAULT_OPERATOR_TOKEN": "base64url48",
        "FRONTEND_DB_PASSWORD": "password",
        "VAULT_RUNTIME_PASSWORD": "password",
    }
    assert specs["N8N_INTERNAL_TOKEN"].service == "vault-api"
    assert specs["N8N_INTERNAL_TOKEN"].rotate_days == 30
    assert specs["ENCRYPTION_MASTER_KEY"].rotate_days == 365
    assert specs["AUDIT_HMAC_KEY"].rotate_days is None


def test_every_secret_says_how_it_is_exchanged():
    """Or why it cannot be; a role's password by two logins that take turns, which its templates then name."""
    roles = {
        role.secret: role.name
        for service in catalog().services.values()
        for database in service.databases
        for role in (database.owner, *database.roles)
    }
    for service in catalog().services.values():
        for name, need in service.secrets.items():
            assert need.rotation.how or need.kind == "given", name
            assert (need.rotation.how == "pair") == (name in roles), name
            assert need.rotation.because or need.rotation.how != "refused", name
            assert need.rotate_days or need.rotation.how == "refused", name
    for secret, role in roles.items():
        used = [
            text
            for name, text in catalog().sources.items()
            if f"secrets.{secret} |" in text or f"secrets.{secret} }}" in text
        ]
        assert used, secret
        assert all(f"secrets.turn.{secret}" in text for text in used), (secret, role)


def test_the_manifest_may_name_what_is_offered():
    """The shapes hold each offered service with its settings, and not what runs by itself."""
    shapes = catalog().service_shapes()
    own = {"postgres", "redis", "mongo", "vault-api", "token-refresher", "n8n", "tooljet", "librechat"}
    assert set(shapes) == {*own, "nginx", "caddy"}
    assert shapes["vault-api"].settings["log_level"].choices == ("debug", "info", "warning", "error")
    assert shapes["postgres"].settings["memory"].pattern
    assert shapes["nginx"].settings["ipv6"].type == "boolean"


def test_every_image_is_pinned():
    """Each upstream image has a tag with a full version by default."""
    for service in catalog().services.values():
        if service.image:
            assert service.settings["version"].default.lstrip("v").count(".") >= 1
            assert "memory" in service.settings


def test_the_vault_image_is_named_after_what_it_is_built_from(tmp_path):
    """One byte more in any file gives another tag; caches do not count."""
    folder = tmp_path / "vault_api"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM python:3.12-slim\n")
    (folder / "app.py").write_text("")
    first = read_context(tmp_path, "vault-api")
    assert set(first.files) == {"Dockerfile", "vault_api/app.py"}
    (folder / "__pycache__" / "app.pyc").write_bytes(b"x")
    assert read_context(tmp_path, "vault-api") == first
    (folder / "app.py").write_text("#")
    assert read_context(tmp_path, "vault-api").tag != first.tag


def test_services_that_share_an_image_build_it_once():
    """The vault and the refresher are one image, built from this package."""
    [image] = catalog().built_images(("postgres", "vault-api", "token-refresher", "nginx"))
    assert image.reference == f"otobot/vault-api:{image.tag}"
    assert {"Dockerfile", "requirements.lock", "vault_api/__main__.py"} <= set(image.files)


def test_an_unknown_key_names_its_file(templates):
    """A typing mistake in a service.yaml is found when it is read."""
    edit(templates, "nginx", imagee="nginx")
    assert "services/nginx/service.yaml" in refused(templates)
    assert "imagee" in refused(templates)


def test_what_is_not_yaml_names_its_line(templates):
    """So does a syntax error, with its line."""
    (templates / "stacks" / "client-vps.yaml").write_text("description: x\nservices: [postgres\n")
    assert "stacks/client-vps.yaml:3: not YAML" in refused(templates)


def test_ports_that_would_meet_are_refused(templates):
    """Two bases that some pair of clients would make equal are found without trying the pairs."""
    edit(templates, "postgres", ports={"postgres": {"container": 5432, "base": 3501}})
    assert "ports postgres.postgres (3501) and vault-api.http (3001) clash" in refused(templates)


def test_a_secret_that_nobody_owns_is_refused(templates):
    """A service cannot use what no service mints."""
    edit(templates, "token-refresher", uses=["ENCRYPTION_KEY"])
    assert "token-refresher: needs secret ENCRYPTION_KEY, which no service owns" in refused(templates)


def test_a_secret_with_two_owners_is_refused(templates):
    """Two services would silently share one value."""
    edit(templates, "nginx", secrets={"API_JWT_SECRET": {"kind": "hex32", "description": "x"}})
    assert "secret API_JWT_SECRET belongs to nginx already" in refused(templates)


def test_a_stack_of_unknown_services_is_refused(templates):
    """A stack names services that exist."""
    (templates / "stacks" / "client-vps.yaml").write_text("description: x\nservices: [postgres, memcached]\n")
    assert "stack client-vps: memcached is no service" in refused(templates)


def test_a_new_service_is_a_folder_and_no_python(templates):
    """A service.yaml and an environment file are all that it takes."""
    folder = templates / "services" / "memcached"
    folder.mkdir()
    (folder / "service.yaml").write_text(
        "description: A cache.\nimage: memcached\n"
        'settings:\n  version: {default: "1.6.31", description: Tag.}\n  memory: {default: 128m, description: Memory.}\n'
        "secrets:\n  MEMCACHED_PASSWORD: {kind: password, description: Password.}\nnetworks: [data]\n"
    )
    (folder / "memcached.env.j2").write_text("MEMCACHED_PASSWORD={{ secrets.MEMCACHED_PASSWORD | env }}\n")
    loaded = load_catalog(templates)
    assert loaded.image(loaded.service("memcached"), "1.6.31") == "memcached:1.6.31"
    assert [spec.name for spec in loaded.secret_specs(["memcached"])] == ["MEMCACHED_PASSWORD"]


def test_unknown_names_are_answered_with_the_known_ones():
    """Asking for a service or a stack that is not there says which are."""
    with pytest.raises(ManifestError) as error:
        catalog().service("postgress")
    assert "postgres" in error.value.hint
    with pytest.raises(ManifestError) as error:
        catalog().stack("vps")
    assert "client-vps" in error.value.hint
