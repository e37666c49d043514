"""A browser whose cookies the test holds, and what a connect needs of the world."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from otobotctl.vault_api import contract
from otobotctl.vault_api.guard import Guard
from otobotctl.vault_api.routes import ENDPOINTS
from otobotctl.vault_api.routing import application

from .conftest import ORIGIN, PUBLIC

BACK = f"{ORIGIN}/apps/connections?tab=1"


class Browser:
    """Asks the vault; keeps cookies, as a browser would."""

    def __init__(self, app, place):
        self.place = place
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=PUBLIC, follow_redirects=False, trust_env=False
        )

    async def get(self, url, **headers):
        return await self.client.get(url, headers=headers)

    async def consent(self, url, account="lea", **change):
        """What the user does at the provider: returns the address that the provider redirects to."""
        query = dict(parse_qsl(urlsplit(url).query))
        code = self.place.stub.authorize(query, account)
        said = {"code": code, "state": query["state"], **change}
        return (
            f"{query['redirect_uri']}?{urlencode({name: value for name, value in said.items() if value is not None})}"
        )


@contextlib.asynccontextmanager
async def standing(place):
    """A vault with a user and an application; yields it, the user, and a maker of browsers."""
    async with place.opened() as vault:
        user = await place.user(vault)
        await place.application(vault)
        app = Guard(application(vault, ENDPOINTS))
        browsers = []

        def browser():
            browsers.append(Browser(app, place))
            return browsers[-1]

        try:
            yield vault, user, browser
        finally:
            for each in browsers:
                await each.client.aclose()


def token(place):
    return {contract.TOKEN_HEADER: place.environment["N8N_INTERNAL_TOKEN"]}


async def begin(browser, place, user, **query):
    """The provider's address, reached as n8n or ToolJet begin it."""
    said = urlencode({"userId": str(user), "returnUrl": BACK, **query})
    first = await browser.get(f"/api/oauth/connect/stub?{said}", **token(place))
    assert first.status_code == 302, first.text
    second = await browser.get(first.headers["location"])
    assert second.status_code == 302, second.text
    return second.headers["location"]


def outcome(answer):
    assert answer.status_code == 302, answer.text
    parts = urlsplit(answer.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == BACK.partition("?")[0]
    said = dict(parse_qsl(parts.query))
    assert said.pop("tab") == "1"
    return said


def run(test):
    asyncio.run(test())
