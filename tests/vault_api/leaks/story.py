"""Every endpoint, used as its callers use it, with values that the book knows."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pyotp

from otobotctl.vault_api import contract, contract_oauth
from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from tests.vault_api.leaks.caller import Book, Caller, Exchange
from tests.vault_api.oauth import provider

BACK = "https://tools.acme.example/apps?tab=1"
_PAIR = ("token", "refreshToken")


class Story:
    """What the vault is asked, in an order that works."""

    def __init__(self, caller: Caller, stub: provider.Stub) -> None:
        self.caller, self.stub, self.book = caller, stub, caller.book
        self.operator, self.internal, self.node = caller.operator, caller.internal, caller.node

    def whole(self) -> None:
        """All of it."""
        for path in (contract.HEALTH_PATH, contract.READY_PATH, contract.METRICS_PATH, contract.OPENAPI_PATH):
            self.caller.ask("GET", path, status=200)
        user, bearer, password = self.person()
        self.credentials()
        self.account(user, bearer, password)
        self.second_factor(bearer, password)
        app = self.applications()
        connected = self.connect(user, bearer)
        self.tooljet(bearer)
        self.administration(user)
        self.refreshes(connected)
        self.endings(app, connected)

    # ------------------------------------------------------------------ people

    def person(self, role: str = "user") -> tuple[str, dict[str, str], str]:
        """A user with a password of his own: (id, header of a login, password)."""
        ask, book, email = self.caller.ask, self.book, f"{uuid4().hex[:12]}@acme.example"
        made = ask(
            "POST", admin.USERS_PATH, {"email": email, "role": role}, self.operator, status=201, mints=("password",)
        )
        once, password = made.json["password"], book.mint(f"the password of a {role}")
        login = {"email": email, "password": once}
        ask("POST", people.LOGIN_PATH, login, status=403)
        ask("POST", people.RENEW_PATH, {**login, "newPassword": book.mint("a short one")[:7]}, status=400)
        ask("POST", people.RENEW_PATH, {**login, "newPassword": password}, status=200, mints=_PAIR)
        for wrong in (book.mint("a wrong password"), password[:-1]):
            ask("POST", people.LOGIN_PATH, {"email": email, "password": wrong}, status=401)
        typed = f"zz{uuid4().hex}"
        book.typed[f"a password typed as the name {len(book.typed)}"] = typed
        ask("POST", people.LOGIN_PATH, {"email": f"{typed}@x.example", "password": "x"}, status=401)
        entered = ask("POST", people.LOGIN_PATH, {"email": email, "password": password}, status=200, mints=_PAIR)
        return made.json["user"]["id"], {"authorization": f"Bearer {entered.json['token']}"}, password

    def account(self, user: str, bearer: dict[str, str], password: str) -> None:
        """Sessions and passwords of one's own."""
        ask = self.caller.ask
        email = ask("GET", admin.ONE_USER_PATH.format(user=user), None, self.operator, status=200).json["email"]
        login = {"email": email, "password": password}
        used = ask("POST", people.LOGIN_PATH, login, status=200, mints=_PAIR).json["refreshToken"]
        ask("POST", people.REFRESH_PATH, {"refreshToken": used}, status=200, mints=_PAIR)
        ask("POST", people.REFRESH_PATH, {"refreshToken": used}, status=401)
        ask("POST", people.REFRESH_PATH, {"refreshToken": self.book.word("a refresh token that is none")}, status=401)
        ask("POST", people.LOGIN_PATH, login, {"user-agent": "a browser"}, status=200, mints=_PAIR)
        listed = ask("GET", people.SESSIONS_PATH, None, bearer, status=200).json["sessions"]
        other = next(one["id"] for one in listed if not one["current"])
        ask("DELETE", people.SESSION_PATH.format(session=other), None, bearer, status=204)
        ask("DELETE", people.SESSION_PATH.format(session=uuid4()), None, bearer, status=404)
        ask("DELETE", people.SESSIONS_PATH, None, bearer, status=204)
        fresh = self.book.mint("the next password")
        ask(
            "POST",
            people.PASSWORD_PATH,
            {"password": self.book.mint("not it"), "newPassword": fresh},
            bearer,
            status=401,
        )
        for old, new in ((password, fresh), (fresh, f"{password}1")):
            ask("POST", people.PASSWORD_PATH, {"password": old, "newPassword": new}, bearer, status=204)
        last = ask("POST", people.LOGIN_PATH, {**login, "password": f"{password}1"}, status=200, mints=_PAIR).json[
            "token"
        ]
        ask("POST", people.LOGOUT_PATH, None, {"authorization": f"Bearer {last}"}, status=204)
        ask("GET", people.DASHBOARD_PATH, None, {"authorization": f"Bearer {last}"}, status=401)

    def second_factor(self, bearer: dict[str, str], password: str) -> None:
        """Enrolled, used by recovery codes, renewed, taken off."""
        ask, password = self.caller.ask, f"{password}1"
        ask("GET", people.MFA_PATH, None, bearer, status=200)
        ask("POST", people.MFA_PATH, {"password": self.book.mint("not this one")}, bearer, status=401)
        begun = ask("POST", people.MFA_PATH, {"password": password}, bearer, status=200, mints=("secret", "uri")).json
        ask("POST", people.MFA_CONFIRM_PATH, {"otp": self.book.word("no code")[:30]}, bearer, status=401)
        code = pyotp.TOTP(begun["secret"]).now()
        on = ask(
            "POST", people.MFA_CONFIRM_PATH, {"otp": code}, bearer, status=200, mints=("recoveryCodes", "token")
        ).json
        bearer = {"authorization": f"Bearer {on['token']}"}
        email = ask("GET", people.DASHBOARD_PATH, None, bearer, status=200).json["user"]["email"]
        login = {"email": email, "password": password}
        for otp, status in (
            ("", 401),
            (self.book.word("a code")[:20], 401),
            (on["recoveryCodes"][0], 200),
            (on["recoveryCodes"][0], 401),
        ):
            ask("POST", people.LOGIN_PATH, {**login, "otp": otp}, status=status, mints=_PAIR if status == 200 else ())
        again = {"password": password, "otp": on["recoveryCodes"][1]}
        codes = ask("POST", people.MFA_RECOVERY_PATH, again, bearer, status=200, mints=("recoveryCodes",)).json[
            "recoveryCodes"
        ]
        ask("POST", people.MFA_DISABLE_PATH, {"password": password, "otp": codes[0][::-1]}, bearer, status=401)
        ask("POST", people.MFA_DISABLE_PATH, {"password": password, "otp": codes[0]}, bearer, status=204)

    # ------------------------------------------------------------------ credentials

    def credentials(self) -> None:
        """Stored, read, listed and missed, as n8n and its node do."""
        ask, user = self.caller.ask, str(uuid4())
        ask(
            "PUT", contract.user_path(user), {"email": f"{user}@acme.example", "name": "Léa"}, self.internal, status=201
        )
        values = {name: self.book.mint(f"a stored {name}") for name in ("accessToken", "refreshToken", "apiKey")}
        path = contract.credentials_path(user, "google")
        ask("POST", path, {**values, "expiresAt": "2199-01-01T00:00:00Z"}, self.internal, status=201)
        ask("POST", path, values, self.internal, status=409)
        ask("PUT", path, values, self.internal, status=200)
        ask("PUT", contract.credentials_path(str(uuid4()), "google"), values, self.internal, status=404)
        ask("GET", path, None, self.node, status=200, gives=(values["accessToken"], values["apiKey"]))
        ask("GET", path, None, self.internal, status=403)
        ask("GET", contract.credentials_path(user, "notion"), None, self.node, status=404)
        listed = ask("GET", contract.CONNECTIONS_PATH.format(user=user), None, self.internal, status=200).json
        for connection, status in ((listed["connections"][0]["id"], 200), (uuid4(), 404)):
            ask("GET", contract.STATUS_PATH.format(connection=connection), None, self.internal, status=status)
        ask("GET", contract.SERVICES_PATH, None, self.internal, status=200)
        ask("GET", "/api/internal/reconnections", None, self.internal, status=200)
        self.stored = (user, path, listed["connections"][0]["id"])

    # ------------------------------------------------------------------ OAuth

    def applications(self) -> str:
        """The stub's, and another that goes again."""
        ask = self.caller.ask
        new = {
            "service": "stub",
            "appName": "Acme's",
            "clientId": provider.CLIENT_ID,
            "clientSecret": provider.CLIENT_SECRET,
        }
        app = ask("POST", admin.APPS_PATH, new, self.operator, status=201).json["id"]
        other = {**new, "service": "google", "clientSecret": self.book.mint("another client secret")}
        gone = ask("POST", admin.APPS_PATH, other, self.operator, status=201).json["id"]
        ask("POST", admin.APPS_PATH, {**other, "service": "nobody"}, self.operator, status=404)
        one = admin.APP_PATH.format(app=gone)
        ask("PATCH", one, {"clientSecret": self.book.mint("a changed client secret")}, self.operator, status=200)
        for path, headers in ((admin.APPS_PATH, self.operator), (contract_oauth.APPS_PATH, self.internal)):
            ask("GET", path, None, headers, status=200)
        ask("DELETE", one, None, self.operator, status=204)
        return str(app)

    def connect(self, user: str, bearer: dict[str, str]) -> str:
        """Connected by both doors; refused, faulty and repeated callbacks; returns the connection."""
        wish = {"userId": user, "returnUrl": BACK}
        path = contract_oauth.CONNECT_PATH.format(service="stub")
        for fault in ((500,), (400,), (200,), "garbage"):
            self.stub.exchange_faults.append(fault)
            self._callback(
                self._go(self.caller.ask("GET", f"{path}?{urlencode(wish)}", None, self.internal, status=302))
            )
        begun = self._go(self.caller.ask("POST", path, {"returnUrl": BACK}, bearer, status=201))
        self._callback(begun, error=self.book.word("an error of the provider's"))
        begun = self._go(self.caller.ask("POST", path, wish, self.operator, status=201))
        self._callback(begun, state=self.book.word("a state that is none"), status=400)
        done = self._callback(begun)
        assert "oauth=success" in done.head["location"], done.head
        self._callback(begun, status=400)
        callback = contract_oauth.CALLBACK_PATH.format(service="stub")
        self.caller.ask("GET", f"{callback}?code={self.book.word('a code of nobody')}", status=400)
        start = contract_oauth.START_PATH.format(service="stub")
        self.caller.ask("GET", f"{start}?ticket={self.book.word('a ticket that is none')}")
        refused = {**wish, "returnUrl": f"https://evil.example/{self.book.word('a path of another')}"}
        self.caller.ask("POST", path, refused, self.internal, status=400)
        listed = self.caller.ask("GET", contract.CONNECTIONS_PATH.format(user=user), None, self.internal, status=200)
        return next(str(one["id"]) for one in listed.json["connections"] if one["service_name"] == "stub")

    def _go(self, prepared: Exchange) -> tuple[dict[str, str], str]:
        """From the ticket to the provider: what its address says, and the browser's cookie."""
        url = prepared.head.get("location") or prepared.json["url"]
        parts = urlsplit(url)
        ticket = self.book.know("a ticket", dict(parse_qsl(parts.query))["ticket"])
        self.caller.may_show(prepared, ticket)
        sent = self.caller.ask("GET", f"{parts.path}?{parts.query}", status=302)
        self.caller.ask("GET", f"{parts.path}?{parts.query}")  # good once
        query = dict(parse_qsl(urlsplit(sent.head["location"]).query))
        cookie = sent.head["set-cookie"].partition(";")[0]
        self.caller.may_show(
            sent, self.book.know("a state", query["state"]), self.book.know("a cookie", cookie.partition("=")[2])
        )
        return query, cookie

    def _callback(self, begun: tuple[dict[str, str], str], *, status: int = 302, **changed: str) -> Exchange:
        query, cookie = begun
        said = {"code": self.stub.authorize(query, "lea"), "state": query["state"], **changed}
        path = contract_oauth.CALLBACK_PATH.format(service="stub")
        return self.caller.ask("GET", f"{path}?{urlencode(said)}", None, {"cookie": cookie}, status=status)

    def refreshes(self, connection: str) -> None:
        """A provider that repeats what it was sent, with a refusal, an error and a success that is none."""
        for fault in ((500,), (401,), (403,), (200,), "garbage", "html", "drop"):
            self.stub.faults.append(("before", fault))
            self.caller.ask("POST", f"{contract_oauth.REFRESH_PATH}?connectionId={connection}", None, self.internal)
        done = self.caller.ask("POST", f"{contract_oauth.REFRESH_PATH}?connectionId={connection}", None, self.internal)
        assert done.json["results"][0]["outcome"] == "refreshed", done.body
        self.caller.ask("POST", contract_oauth.REFRESH_PATH, None, self.operator, status=200)

    # ------------------------------------------------------------------ ToolJet and administration

    def tooljet(self, bearer: dict[str, str]) -> None:
        """What a user's front end asks."""
        ask = self.caller.ask
        for path in (people.DASHBOARD_PATH, people.OWN_CONNECTIONS_PATH, people.WORKFLOWS_PATH, people.SOURCES_PATH):
            ask("GET", path, None, bearer, status=200)
        new = {"service": "openai", "apiKey": self.book.mint("an API key of a user")}
        made = ask("POST", people.OWN_CONNECTIONS_PATH, new, bearer, status=201).json["id"]
        ask("POST", people.OWN_CONNECTIONS_PATH, new, bearer, status=409)
        ask("DELETE", people.OWN_CONNECTION_PATH.format(connection=made), None, bearer, status=204)
        source = {"source_type": "BLOG", "source_value": "https://blog.example"}
        added = ask("POST", people.SOURCES_PATH, source, bearer, status=201).json["id"]
        ask("DELETE", people.SOURCE_PATH.format(source=added), None, bearer, status=204)
        workflow = {"name": "Hello", "webhookPath": "hello"}
        flow = ask("POST", admin.ADMIN_WORKFLOWS_PATH, workflow, self.operator, status=201).json["id"]
        ask("POST", people.TRIGGER_PATH.format(workflow=flow), {"parameters": {"a": 1}}, bearer, status=200)
        ask("GET", admin.ADMIN_WORKFLOWS_PATH, None, self.operator, status=200)
        ask("DELETE", admin.ADMIN_WORKFLOW_PATH.format(workflow=flow), None, self.operator, status=204)

    def administration(self, user: str) -> None:
        """What the operator, an administrator and an API key ask."""
        ask, one = self.caller.ask, {"user": user}
        for path in (admin.CLIENT_PATH, admin.PERMISSIONS_PATH, admin.USERS_PATH, admin.ADMIN_SERVICES_PATH, admin.KEYS_PATH,
                     admin.ALL_CONNECTIONS_PATH, admin.AUDIT_PATH, admin.USER_PERMISSIONS_PATH.format(**one)):  # fmt: skip
            ask("GET", path, None, self.operator, status=200)
        ask(
            "PATCH",
            admin.CLIENT_PATH,
            {"companyName": "ACME SAS", "policy": {"adminSecondFactor": False}},
            self.operator,
            status=200,
        )
        ask(
            "PUT", admin.USER_PERMISSIONS_PATH.format(**one), {"permissions": ["audit.read"]}, self.operator, status=200
        )
        ask("PATCH", admin.ONE_USER_PATH.format(**one), {"name": "Léa"}, self.operator, status=200)
        ask("POST", admin.USER_UNLOCK_PATH.format(**one), None, self.operator, status=204)
        key = ask(
            "POST", admin.KEYS_PATH, {"name": "ci", "scopes": ["users.read"]}, self.operator, status=201, mints=("key",)
        ).json
        program = {"authorization": f"Bearer {key['key']}"}
        ask("GET", admin.USERS_PATH, None, program, status=200)
        ask("GET", admin.AUDIT_PATH, None, program, status=403)
        ask("DELETE", admin.KEY_PATH.format(key=key["about"]["id"]), None, self.operator, status=204)
        ask("GET", admin.USERS_PATH, None, program, status=401)
        _, bearer, _ = self.person("admin")
        ask("GET", admin.AUDIT_PATH, None, bearer, status=200)
        new = {"userId": user, "service": "mistral", "apiKey": self.book.mint("an API key by an operator")}
        made = ask("POST", admin.ALL_CONNECTIONS_PATH, new, self.operator, status=201).json["id"]
        ask("DELETE", admin.ANY_CONNECTION_PATH.format(connection=made), None, self.operator, status=204)

    def endings(self, app: str, connected: str) -> None:
        """Somebody's sessions, password and second factor, his export and his erasure; an application in use."""
        ask = self.caller.ask
        ask("DELETE", admin.APP_PATH.format(app=app), None, self.operator, status=409)
        user, bearer, _ = self.person()
        one = {"user": user}
        ask(
            "POST",
            people.OWN_CONNECTIONS_PATH,
            {"service": "openai", "apiKey": self.book.mint("erased")},
            bearer,
            status=201,
        )
        ask("GET", admin.EXPORT_PATH.format(**one), None, self.operator, status=200)
        ask("DELETE", admin.USER_MFA_PATH.format(**one), None, self.operator, status=204)
        ask("DELETE", admin.USER_SESSIONS_PATH.format(**one), None, self.operator, status=204)
        ask("POST", admin.USER_PASSWORD_PATH.format(**one), None, self.operator, status=200, mints=("password",))
        ask("DELETE", admin.ONE_USER_PATH.format(**one), None, self.operator, status=200)
        ask("DELETE", admin.ANY_CONNECTION_PATH.format(connection=connected), None, self.operator, status=204)


def refused(caller: Caller, endpoints: list[tuple[str, str, bool]], everybody: dict[str, str]) -> None:
    """Each endpoint by strangers and with nonsense, all of it made of secrets that must not be repeated.

    `endpoints`: method, path, whether it takes a body. `everybody`: the headers that let one in.
    """
    for method, path, takes_body in endpoints:
        book: Book = caller.book
        name = f"{method} {path}"
        filled = re.sub(r"\{[a-z]+\}", lambda found: "notion" if found[0] == "{service}" else str(uuid4()), path)
        word = book.word(f"a header of {name}")
        stranger = {
            contract.TOKEN_HEADER: word, contract.NODE_HEADER: word, contract.OPERATOR_HEADER: word,
            "authorization": f"Bearer {word}", "cookie": f"__Host-otobot-oauth-{word}={word}",
            "user-agent": word, "x-request-id": word, "origin": f"https://{word}.example",
        }  # fmt: skip
        caller.ask(method, f"{filled}?code={word}&token={word}&state={word}&ticket={word}", None, stranger)
        if "{" in path:
            caller.ask(method, re.sub(r"\{[a-z]+\}", book.word(f"a path of {name}", "ZZ"), path), None, everybody)
        if takes_body:
            secret = book.mint(f"a body of {name}")
            written = secret.encode()
            for body in (b'{"password": "' + written, {secret: secret}, {"password": [secret]}, [secret], secret,
                         {"email": secret, "password": {"x": secret}, "apiKey": 7}, b"\xff" + written):  # fmt: skip
                caller.ask(method, filled, body, everybody)
            caller.ask(method, filled, b'"' + written + b"x" * (contract.MAX_BODY_BYTES + 1), everybody, status=413)
