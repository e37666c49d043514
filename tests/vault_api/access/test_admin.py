"""Administration: users, permissions, applications, keys, the audit; nobody climbs by it."""

from __future__ import annotations

import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people

from .conftest import PASSWORD, SEEN

SECRET = "GOCSPX-SECRET-of-an-app"
CLIENT_ID = "1234-SECRET-id.apps.example"


@pytest.fixture(scope="module", autouse=True)
def _known(house):
    SEEN.update({SECRET, CLIENT_ID})
    house.no_admin_factor()


def holder(house, *permissions):
    """A user who was granted these; (id, access token)."""
    user, email = house.person()
    path = f"{admin.USERS_PATH}/{user}/permissions"
    assert house.operate("PUT", path, {"permissions": list(permissions)}).status == 200
    return user, house.login(email).body["token"]


def key(house, *scopes, **more):
    made = house.operate("POST", admin.KEYS_PATH, {"name": "ci", "scopes": list(scopes), **more})
    assert made.status == 201, made.body
    house.remember(made)
    return made.body


def test_users_are_created_read_changed_and_listed_in_pages(house):
    """The whole life of a row, with an address that two cannot have."""
    made = house.operate("POST", admin.USERS_PATH, {"email": "Paul@acme.example", "name": "Paul"})
    assert made.status == 201
    house.remember(made)
    user = made.body["user"]
    assert (user["mustChangePassword"], user["role"]) == (True, "user")
    assert house.operate("POST", admin.USERS_PATH, {"email": "paul@ACME.example"}).status == 409
    path = f"{admin.USERS_PATH}/{user['id']}"
    assert house.operate("GET", path).body == user
    changed = house.operate("PATCH", path, {"name": "Paul B.", "role": "admin"}).body
    assert (changed["name"], changed["role"], changed["email"]) == ("Paul B.", "admin", "Paul@acme.example")
    for number in range(4):
        house.remember(house.operate("POST", admin.USERS_PATH, {"email": f"page{number}@acme.example"}))
    seen, after = [], ""
    while after is not None:
        page = house.operate("GET", f"{admin.USERS_PATH}?limit=2&after={after}").body
        seen += [one["email"] for one in page["users"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == house.rows("SELECT count(*) FROM users")[0][0]


def test_a_reset_password_is_shown_once_and_ends_sessions(house):
    """The old password and sessions are dead; the new one has to be replaced."""
    user, email = house.person()
    session = house.login(email).body["token"]
    got = house.operate("POST", f"{admin.USERS_PATH}/{user}/password")
    house.remember(got)
    assert house.ask("GET", people.DASHBOARD_PATH, bearer=session).status == 401
    assert house.login(email).status == 401
    assert house.login(email, got.body["password"]).body["code"] == "password_expired"
    assert got.body["password"] not in str(house.operate("GET", f"{admin.USERS_PATH}/{user}").body)


def test_permissions_are_granted_and_taken(house):
    """A user with users.read may read users, and no longer when it is taken; unknown codes are refused."""
    user, token = holder(house, "users.read")
    assert house.ask("GET", admin.USERS_PATH, bearer=token).status == 200
    assert house.ask("POST", admin.USERS_PATH, {"email": "x@acme.example"}, bearer=token).status == 403
    path = f"{admin.USERS_PATH}/{user}/permissions"
    assert house.operate("GET", path).body == {"permissions": ["users.read"]}
    assert house.operate("PUT", path, {"permissions": []}).status == 200
    assert house.ask("GET", admin.USERS_PATH, bearer=token).status == 403
    assert house.operate("PUT", path, {"permissions": ["root"]}).status == 400


def test_nobody_climbs(house):
    """Who may grant, create users or keys does so within what he holds; an administrator's account is out of reach."""
    boss, boss_email = house.person("admin")
    user, token = holder(house, "permissions.write", "users.write", "keys.write")
    me, chief = f"{admin.USERS_PATH}/{user}", f"{admin.USERS_PATH}/{boss}"

    def tried(method, path, body=None):
        return house.ask(method, path, body, bearer=token).status

    assert tried("PUT", f"{me}/permissions", {"permissions": ["users.write", "audit.read"]}) == 403
    assert tried("PATCH", me, {"role": "admin"}) == 409
    assert tried("POST", admin.USERS_PATH, {"email": "climb@acme.example", "role": "admin"}) == 403
    for higher in (chief, f"{admin.USERS_PATH}/{holder(house, 'audit.read')[0]}"):
        assert tried("POST", f"{higher}/password") == 403
        assert tried("DELETE", f"{higher}/mfa") == 403
        assert tried("PATCH", higher, {"email": "mine@acme.example"}) == 403
    assert tried("POST", f"{admin.USERS_PATH}/{house.person()[0]}/password") == 200
    assert tried("PATCH", chief, {"isActive": False}) == 403
    assert tried("POST", admin.KEYS_PATH, {"name": "k", "scopes": ["admin"]}) == 403
    assert tried("POST", admin.KEYS_PATH, {"name": "k", "scopes": ["audit.read"]}) == 403
    assert tried("POST", admin.KEYS_PATH, {"name": "k", "scopes": ["users.write"]}) == 201
    assert house.login(boss_email).status == 200


def test_an_api_key_does_what_its_scopes_say(house):
    """Shown once; listed by its prefix; refused outside its scopes, for people's routes, and once revoked or ended."""
    made = key(house, "users.read")
    text = made["key"]
    assert text.startswith(f"otk_{made['about']['prefix']}_")
    assert house.ask("GET", admin.USERS_PATH, bearer=text).status == 200
    assert house.ask("GET", admin.AUDIT_PATH, bearer=text).status == 403
    assert house.ask("GET", people.DASHBOARD_PATH, bearer=text).status == 401
    listed = house.operate("GET", admin.KEYS_PATH).body["keys"]
    (one,) = [one for one in listed if one["id"] == made["about"]["id"]]
    assert one["lastUsedAt"]
    assert text[-64:] not in str(listed)
    ended = key(house, "users.read")
    house.change("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s", ended["about"]["id"])
    assert house.ask("GET", admin.USERS_PATH, bearer=ended["key"]).status == 401
    assert house.operate("DELETE", f"{admin.KEYS_PATH}/{made['about']['id']}").status == 204
    assert house.ask("GET", admin.USERS_PATH, bearer=text).status == 401
    assert house.operate("DELETE", f"{admin.KEYS_PATH}/{made['about']['id']}").status == 404
    whole = key(house, "admin")["key"]
    assert house.ask("GET", admin.AUDIT_PATH, bearer=whole).status == 200
    forged = whole[:-1] + ("0" if whole[-1] != "0" else "1")
    assert house.ask("GET", admin.AUDIT_PATH, bearer=forged).status == 401


def test_a_key_cannot_do_what_its_maker_has_lost(house):
    """Taking a grant, a role or the account away takes it from the keys that the person made; others stay."""
    kept = key(house, "users.read")["key"]

    def made_by(token, *scopes):
        made = house.ask("POST", admin.KEYS_PATH, {"name": "k", "scopes": list(scopes)}, bearer=token)
        assert made.status == 201, made.body
        house.remember(made)
        return made.body["key"]

    def works(text):
        return house.ask("GET", admin.USERS_PATH, bearer=text).status

    user, token = holder(house, "keys.write", "users.read")
    text = made_by(token, "users.read")
    assert works(text) == 200
    house.operate("PUT", f"{admin.USERS_PATH}/{user}/permissions", {"permissions": ["keys.write"]})
    assert works(text) == 403
    boss, email = house.person("admin")
    text = made_by(house.login(email).body["token"], "admin")
    second = made_by(text, "users.read")
    assert (works(text), works(second)) == (200, 200)
    house.operate("PATCH", f"{admin.USERS_PATH}/{boss}", {"role": "user"})
    assert (works(text), works(second)) == (403, 403), "nor can a key that his key made"
    house.operate("PATCH", f"{admin.USERS_PATH}/{boss}", {"role": "admin"})
    assert works(text) == 200
    house.operate("PATCH", f"{admin.USERS_PATH}/{boss}", {"isActive": False})
    assert works(text) == 403
    house.operate("DELETE", f"{admin.USERS_PATH}/{boss}")
    assert works(text) == 403
    assert works(kept) == 200


def test_keys_are_stored_as_digests(house):
    """No column holds a key."""
    text = key(house, "users.read")["key"]
    assert text[-64:] not in str(house.rows("SELECT to_jsonb(k)::text FROM api_keys k"))


def test_an_applications_values_go_in_and_never_come_out(house):
    """Sealed in the row, absent from every answer; changing one value keeps the other."""
    body = {"service": "google", "appName": "Acme", "clientId": CLIENT_ID, "clientSecret": SECRET, "scopes": ["email"]}
    made = house.operate("POST", admin.APPS_PATH, body)
    assert made.status == 201, made.body
    listed = house.operate("GET", admin.APPS_PATH)
    path = f"{admin.APPS_PATH}/{made.body['id']}"
    changed = house.operate("PATCH", path, {"appName": "Acme 2"})
    assert (changed.body["appName"], changed.body["hasSecret"]) == ("Acme 2", True)
    stored = str(house.rows("SELECT to_jsonb(a)::text FROM oauth_applications a"))
    assert made.body["id"] in stored
    for value in (SECRET, CLIENT_ID):
        assert value not in f"{made.body} {listed.body} {changed.body} {stored}"
    assert house.operate("PATCH", path, {"redirectUri": "http://x.example"}).status == 400
    assert house.operate("DELETE", path).status == 204
    assert house.operate("DELETE", path).status == 404
    services = house.operate("GET", admin.ADMIN_SERVICES_PATH).body["services"]
    assert "google" in {one["code"] for one in services}


def test_the_audit_is_read_in_pages_and_by_filters_and_reading_it_is_an_entry(house):
    """Newest first; filters narrow; there is no way to change it."""
    user, email = house.person()
    house.login(email, "Wrong-Horse-77")
    house.login(email)
    path = admin.AUDIT_PATH
    page = house.operate("GET", f"{path}?user={user}&action=login&limit=2").body
    assert [(one["action"], one["outcome"]) for one in page["entries"]] == [("login", "ok"), ("login", "refused")]
    rest = house.operate("GET", f"{path}?user={user}&action=login&limit=2&before={page['next']}").body
    assert {one["id"] for one in rest["entries"]}.isdisjoint(one["id"] for one in page["entries"])
    refused = house.operate("GET", f"{path}?user={user}&outcome=refused").body["entries"]
    assert {one["outcome"] for one in refused} == {"refused"}
    assert house.operate("GET", f"{path}?since=2199-01-01T00:00:00Z").body["entries"] == []
    assert house.operate("GET", f"{path}?since=yesterday").status == 400
    assert house.operate("GET", f"{path}?user=x").status == 400
    newest = house.operate("GET", f"{path}?limit=1").body["entries"][0]
    assert (newest["action"], newest["by"]) == ("audit", "operator:test")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert house.operate(method, path, {}).status == 405


def test_the_client_and_its_policy(house):
    """Read and changed; what is left out stays; the policy is for administrators alone."""
    changed = house.operate("PATCH", admin.CLIENT_PATH, {"companyName": "Acme SAS"})
    assert changed.body["companyName"] == "Acme SAS"
    assert house.operate("GET", admin.CLIENT_PATH).body["policy"] == {"adminSecondFactor": False}
    _, token = holder(house, "client.write")
    assert house.ask("PATCH", admin.CLIENT_PATH, {"email": "hello@acme.example"}, bearer=token).status == 200
    body = {"policy": {"adminSecondFactor": False}}
    assert house.ask("PATCH", admin.CLIENT_PATH, body, bearer=token).status == 403


def test_every_administrative_act_is_audited(house):
    """Each route of administrators leaves an entry, also those that only look."""
    user, _ = house.person()
    path = f"{admin.USERS_PATH}/{user}"
    acts = [
        ("GET", admin.USERS_PATH, None),
        ("GET", path, None),
        ("PATCH", path, {"name": "New"}),
        ("POST", f"{path}/unlock", None),
        ("GET", f"{path}/permissions", None),
        ("PUT", f"{path}/permissions", {"permissions": ["audit.read"]}),
        ("DELETE", f"{path}/sessions", None),
        ("GET", admin.PERMISSIONS_PATH, None),
        ("GET", admin.CLIENT_PATH, None),
        ("GET", admin.KEYS_PATH, None),
        ("GET", admin.APPS_PATH, None),
        ("GET", admin.ADMIN_SERVICES_PATH, None),
        ("GET", admin.ADMIN_WORKFLOWS_PATH, None),
        ("GET", f"{path}/export", None),
        ("DELETE", path, None),
    ]
    for method, where, body in acts:
        before = count(house)
        got = house.operate(method, where, body)
        assert got.status in {200, 204}, (method, where, got.body)
        assert count(house) > before, (method, where)


def test_a_password_in_a_wrong_field_is_not_repeated(house):
    """Refusals never quote what was sent."""
    for body in (
        {"email": PASSWORD},
        {"email": "a@b.example", PASSWORD: 1},
        {"email": "a@b.example", "role": PASSWORD},
    ):
        got = house.operate("POST", admin.USERS_PATH, body)
        assert got.status == 400
        assert PASSWORD not in str(got.body)


def count(house):
    return house.rows("SELECT count(*) FROM credential_access_logs")[0][0]
