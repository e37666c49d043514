"""What the manifest may not promise of backups."""

from __future__ import annotations

import pytest

from otobotctl.manifest import backups
from otobotctl.manifest.findings import show


@pytest.mark.parametrize("where", ["defaults", "prod", "acme"])
def test_a_restore_to_any_moment_needs_archives_too(where: str) -> None:
    """In each layer that may ask for it: what is not in PostgreSQL comes from them."""

    def found(schedule: str) -> list[str]:
        layer = {"backup": {"pitr": True, "schedule": schedule}}
        document = {
            "defaults": {"defaults": layer}, "prod": {"environments": {"prod": layer}}, "acme": {"clients": {"acme": layer}},
        }[where]  # fmt: skip
        return [show(each.path) for each in backups.check(document)]

    (path,) = found("never")
    assert path.endswith("backup.schedule")
    assert found("daily") == []


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIGi0JyN/GhhVHfCy1nUPu0iWcMBNcH6/ZmlkvZhkK5a"
GOOD = {
    "directory": {"repository": "/srv/backups/{client}"},
    "sftp": {"repository": "sftp:backup@nas.example:/srv/{client}", "host_key": HOST_KEY},
    "sftp-port": {"repository": "sftp://backup@[2001:db8::7]:2222//srv/{client}", "host_key": HOST_KEY},
    "s3": {"repository": "s3:https://s3.gra.io.cloud.ovh.net/otobot/{client}", "region": "gra"},
    "s3-lab": {"repository": "s3:http://10.0.0.7:9000/otobot/{client}"},
    "s3-short": {"repository": "s3:s3.amazonaws.com/otobot/{client}"},
    "rest": {"repository": "rest:https://{client}@nas.example:8000/{client}/", "append_only": True},
    "rest-lab": {"repository": "rest:http://[fd10::7]:8000/{client}"},
}


def told(backup: object, where: str = "client") -> list[str]:
    """The findings of one layer's backup, as they are shown."""
    documents = {
        "client": {"clients": {"acme": {"backup": backup}}},
        "defaults": {"defaults": {"backup": backup}},
        "environment": {"environments": {"prod": {"backup": backup}}},
    }
    return [str(each) for each in backups.check(documents[where])]  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["client", "defaults", "environment"])
def test_what_restic_knows_and_the_tool_serves_is_accepted(where: str) -> None:
    """A directory, SFTP, S3 and a REST server, in each place that may speak of backups."""
    assert told({"targets": GOOD, "schedule": "4-hourly", "rpo_h": 4, "mail": "it@acme.example"}, where) == []


@pytest.mark.parametrize(
    ("target", "path", "problem", "remedy"),
    [
        ({"repository": "backups/acme"}, "repository", '"backups/acme" is not known here', "write it like /srv/"),
        ({"repository": "azure:box:/"}, "repository", "is not known here", "sftp:"),
        ({"repository": "/"}, "repository", "is not a directory of its own", "/srv/{client}"),
        ({"repository": "/srv/../etc"}, "repository", "is not a directory of its own", "/srv/{client}"),
        ({"repository": "/srv/a b"}, "repository", "has no place there", "write it like"),
        ({"repository": "/srv/{slug}"}, "repository", "a placeholder that nobody fills in", "{client}"),
        ({"repository": "sftp:nas.example:/srv", "host_key": HOST_KEY}, "repository", "lacks a user", "sftp:backup@"),
        ({"repository": "sftp:b@nas.example:srv", "host_key": HOST_KEY}, "repository", "from the root on", "sftp:"),
        ({"repository": "sftp:b@nas.example:/srv"}, "host_key", "is missing", "ssh-keyscan"),
        ({"repository": "sftp:b@nas.example:/srv", "host_key": "nas ssh-rsa A"}, "host_key", "not a public", ".pub"),
        ({"repository": "/srv/a", "host_key": HOST_KEY}, "host_key", "is for sftp: repositories", "leave it out"),
        ({"repository": "/srv/a", "region": "gra"}, "region", "is for s3: repositories", "leave it out"),
        ({"repository": "s3:https://s3.example/b", "region": "$(id)"}, "region", "is not a region", "eu-west-3"),
        ({"repository": "s3:https://s3.example"}, "repository", "lacks a host or a bucket", "s3:https://"),
        ({"repository": "s3:http://s3.example/b"}, "repository", "is not https", "https://"),
        ({"repository": "rest:http://nas.example/a"}, "repository", "is not https", "rest:https://"),
        ({"repository": "rest:nas.example/a"}, "repository", "lacks https:// or a host", "rest:https://"),
        ({"repository": "rest:https://nas.example:port/a"}, "repository", "lacks https://", "rest:https://"),
    ],
)  # fmt: skip
def test_a_repository_that_cannot_be_meant_is_told_with_what_to_write(
    target: dict[str, str], path: str, problem: str, remedy: str
) -> None:
    """By its place, in words."""
    (found,) = told({"targets": {"nas": target}})
    assert found.startswith(f"clients.acme.backup.targets.nas.{path}: ")
    assert problem in found
    assert remedy in found


@pytest.mark.parametrize("form", ["rest:https://acme:s3cr3t@nas.example/a", "s3:https://k:s3cr3t@s3.example/b"])
def test_a_password_in_the_manifest_is_refused_and_not_repeated(form: str) -> None:
    """It goes by `secrets set`."""
    (found,) = told({"targets": {"nas": {"repository": form}}})
    assert "holds a password" in found
    assert "otobotctl secrets set" in found
    assert "s3cr3t" not in found


@pytest.mark.parametrize("name", ["NAS", "n" * 21, "1st", "a_b", "-a"])
def test_a_targets_name_becomes_part_of_secrets_and_is_plain(name: str) -> None:
    """Lower case, digits and -."""
    assert "is not a target's name" in told({"targets": {name: {"repository": "/srv/a"}}})[0]


@pytest.mark.parametrize("where", ["defaults", "environment"])
def test_what_speaks_for_many_clients_gives_each_a_repository_of_its_own(where: str) -> None:
    """Two clients' archives in one repository could be read by either host."""
    assert (
        "would be the one repository of many clients" in told({"targets": {"nas": {"repository": "/srv/a"}}}, where)[0]
    )


def test_no_two_clients_and_no_two_targets_share_a_repository() -> None:
    """However their paths are written."""
    one = {"backup": {"targets": {"nas": {"repository": "/srv/acme"}, "too": {"repository": "/srv/{client}/"}}}}
    other = {"backup": {"targets": {"nas": {"repository": "/srv/acme/"}}}}
    found = [str(each) for each in backups.check({"clients": {"acme": one, "beta": other}})]  # type: ignore[arg-type]
    taken = "is clients.acme.backup.targets.nas's already; give each a repository of its own"
    assert found == [
        f"clients.acme.backup.targets.too.repository: {taken}",
        f"clients.beta.backup.targets.nas.repository: {taken}",
    ]


@pytest.mark.parametrize(
    ("backup", "problem"),
    [
        ({"schedule": "daily", "rpo_h": 4}, "archives that are made daily are up to 24 h old, not 4 h"),
        ({"mail": "nobody"}, "is not an e-mail address"),
        ({"webhook": "hooks.example/a"}, "is not the address of a webhook"),
        ({"webhook": "http://hooks.example/a"}, "is not https"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_told(backup: dict[str, object], problem: str) -> None:
    """Before a deploy, and not by the first alarm."""
    (found,) = told(backup)
    assert problem in found


def test_shapes_that_are_wrong_are_left_to_the_structure() -> None:
    """Nothing here falls over what is no object, no text, no number."""
    for backup in (None, [], {"targets": []}, {"targets": {"nas": []}}, {"targets": {"nas": {"repository": 7}}}):
        assert told(backup) == []
    assert told({"schedule": [], "rpo_h": True, "mail": 7, "webhook": {}}) == []


@pytest.mark.parametrize(
    ("repository", "parts"),
    [
        ("sftp:backup@nas.example:/srv/a", ("backup", "nas.example", 22, "/srv/a")),
        ("sftp:backup@[2001:db8::7]:/srv/a", ("backup", "2001:db8::7", 22, "/srv/a")),
        ("sftp://backup@nas.example:2222//srv/a", ("backup", "nas.example", 2222, "/srv/a")),
    ],
)
def test_an_sftp_address_is_taken_apart(repository: str, parts: tuple[str, str, int, str]) -> None:
    """For the ssh that restic starts."""
    assert backups.sftp_parts(repository) == parts
