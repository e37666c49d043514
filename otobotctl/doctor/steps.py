"""The steps that fixes are made of: each changes nothing where its condition holds already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.plan.kinds.command import CommandSpec
from otobotctl.plan.kinds.service import ServiceSpec
from otobotctl.plan.model import Step
from otobotctl.render import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "doctor/"  # of every step here

_HELD_S = 240
_WELL = (
    's=$(docker inspect --format "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}" "$0"); '
    '[ "$s" = "running healthy" ] || [ "$s" = "running " ]'
)
_RESTART = f'docker restart "$0" && n=0 && until {_WELL}; do n=$((n+1)); [ $n -lt {_HELD_S} ] || exit 1; sleep 1; done'


def command(name: str, *argv: str, unless: tuple[str, ...]) -> Step:
    """A program that runs, and after which `unless` ends with 0; it does not run where that holds already."""
    return Step(f"{PREFIX}{name}", CommandSpec(argv=argv, unless=unless))


def shell(name: str, script: str, *arguments: str, unless: str) -> Step:
    """As `command`, in the words of sh; both scripts get the same arguments, the first as $0."""
    return command(name, "sh", "-c", script, *arguments, unless=("sh", "-c", unless, *arguments))


def service(name: str) -> Step:
    """A unit of systemd that runs, now and after a boot."""
    return Step(f"{PREFIX}{name}", ServiceSpec(name=name))


def restarted(container: Mapping[str, Any]) -> Step:
    """A container that runs, healthy where it can tell; one that is not is started anew and waited for."""
    name = str(container["name"])
    return shell(f"restart-{name}", _RESTART, name, unless=_WELL)


def release_up(client: str, what: str) -> Step:
    """A service of the current release that has a running container; the other containers are left as they are."""
    project = layout.project(client)
    labels = " ".join(
        f"--filter label=com.docker.compose.{key}={value}" for key, value in (("project", project), ("service", what))
    )
    return shell(
        f"up-{client}-{what}",
        f"{_compose(client)} up --detach --no-recreate --wait {what}",
        unless=f'[ -n "$(docker ps --quiet {labels})" ]',
    )


def run_again(client: str, what: str) -> Step:
    """A container of the release that runs and ends (an init, a migration), run once more; it must end well.

    Such a container changes nothing that is right already, so a second time is no harm. One that somebody removed, as
    `docker container prune` does, is made anew.
    """
    name = f"{layout.project(client)}-{what}-1"
    mark = f"/run/otobot/again-{name}"
    anew = f'{_compose(client)} up --detach --no-deps {what} && docker logs --follow "$0"'
    return shell(
        f"again-{client}-{what}",
        f'if docker container inspect "$0" >/dev/null 2>&1; then docker start --attach "$0"; else {anew}; fi '
        f'&& [ "$(docker wait "$0")" = 0 ] && touch {mark}',
        name,
        unless=f'[ -n "$(find {mark} -newermt "-30 seconds" 2>/dev/null)" ]',
    )


def _compose(client: str) -> str:
    directory = f"{layout.BASE}/{client}/current"
    project = layout.project(client)
    return f"docker compose --project-name {project} --project-directory {directory} --file {directory}/compose.yaml"
