"""`python -m vault_api serve | migrate | refresher | rewrap | prove | audit | call | provision | health`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, cast

from . import call, contract, health, logs, provision, upkeep
from .configuration import ConfigurationError, Settings

EXIT_CONFIGURATION = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 not well, 2 the configuration is wrong."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "health":
        return health.ask(arguments.port)
    logs.start(os.environ.get("VAULT_LOG_LEVEL", "info").lower() if _level_known() else "info")
    try:
        settings = Settings.from_environment(
            os.environ, owner=arguments.command == "migrate", serves=arguments.command == "serve"
        )
    except ConfigurationError as error:
        logs.event("configuration_refused", logging.ERROR, findings=error.findings)
        return EXIT_CONFIGURATION
    return _COMMANDS[arguments.command](settings, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vault_api", description="Otobot's credential vault, configured by its environment."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="bring the schema up to date, then answer")
    everywhere = "0.0.0.0"  # noqa: S104 - inside its container; Compose publishes it on loopback only
    serve.add_argument("--host", default=everywhere)
    serve.add_argument("--port", type=int, default=contract.PORT)
    commands.add_parser("migrate", help="bring the schema up to date")
    refreshing = commands.add_parser("refresher", help="renew tokens before they run out, and raise alerts")
    refreshing.add_argument("--metrics-port", type=int, default=0, help="where /metrics and /health are answered")
    sealing = commands.add_parser(
        "rewrap", help="seal everything anew under the current key; says what was done as JSON"
    )
    sealing.add_argument(
        "--look", action="store_true", help="change nothing: say which keys are here and what needs them"
    )
    sealing.add_argument("--progress", action="store_true", help="say after each batch how far it is, a line each")
    commands.add_parser("prove", help="open some of what is stored, and say how many values as JSON; changes nothing")
    audit = commands.add_parser("audit", help="verify the audit; exit 1 where it is not whole")
    audit.add_argument("what", choices=("verify",))
    audit.add_argument("--anchor", action="store_true", help="read the heads of an earlier verification on stdin")
    calling = commands.add_parser("call", help="make the requests of stdin as the operator")
    calling.add_argument("--operator", default="", help="who asks, for the audit")
    calling.add_argument("--port", type=int, default=contract.PORT)
    preparing = commands.add_parser("provision", help="what a deploy stores for the client itself")
    preparing.add_argument("what", choices=("check", "apply"))
    preparing.add_argument("items", nargs="?", default="", help="for check; apply reads stdin")
    preparing.add_argument("--port", type=int, default=contract.PORT)
    well = commands.add_parser("health", help="exit 0 when the vault is well, or the refresher, by its port")
    well.add_argument("--port", type=int, default=contract.PORT)
    return parser


def _level_known() -> bool:
    from .configuration import LEVELS

    return os.environ.get("VAULT_LOG_LEVEL", "info").lower() in LEVELS


def _migrate(settings: Settings) -> int:
    from . import schema

    try:
        applied = schema.migrate(settings)
    except schema.SchemaError as error:  # its own words, which hold no value
        logs.event("migration_refused", logging.ERROR, findings=(str(error),))
        return 1
    except Exception as error:  # noqa: BLE001 - a database error's text may quote a row
        logs.event("migration_failed", logging.ERROR, **logs.describe(error))
        return 1
    logs.event("schema_current", migration=", ".join(applied) or "none new")
    return 0


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    import uvicorn

    from . import app
    from .hot import Hot
    from .protocol import Bounded

    # Where the owner's login is given too, as on a developer's machine, `serve` alone is enough.
    failed = _migrate(settings) if settings.owner else 0
    if failed:
        return failed
    hot = Hot()
    config = uvicorn.Config(
        app.of(settings, hot),
        host=arguments.host,
        port=arguments.port,
        lifespan="on",
        log_config=None,
        access_log=False,  # the guard logs requests, without paths
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=512,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        http=cast("type[asyncio.Protocol]", functools.partial(Bounded, hot=hot)),
    )
    logs.event("serving", client=settings.client, port=arguments.port)
    server = uvicorn.Server(config)
    # uvicorn stops gracefully, then raises the signal again: an asked-for stop ends with 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    server.run()
    return 0 if server.started else 1


def _refresh(settings: Settings, port: int) -> int:
    from . import refresher

    async def until_told() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        await refresher.run(settings, stopping, port)

    try:
        asyncio.run(until_told())
    except Exception as error:  # noqa: BLE001 - told by type: the text may quote a row
        logs.event("refresher_failed", logging.ERROR, **logs.describe(error))
        return 1
    return 0


_COMMANDS: Final[dict[str, Callable[[Settings, argparse.Namespace], int]]] = {
    "serve": _serve,
    "migrate": lambda settings, _arguments: _migrate(settings),
    "refresher": lambda settings, arguments: _refresh(settings, arguments.metrics_port),
    "call": lambda settings, arguments: call.run(settings, arguments.operator, arguments.port),
    "provision": lambda settings, arguments: provision.run(settings, arguments.items, arguments.port),
    "rewrap": upkeep.run,
    "prove": upkeep.run,
    "audit": upkeep.run,
}


if __name__ == "__main__":
    sys.exit(main())
