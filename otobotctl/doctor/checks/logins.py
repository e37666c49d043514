"""Each service's database role really logs in, from inside, with the password that the service has."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix

_INIT = {"postgres": "postgres-init", "mongo": "mongo-init"}
_ADMIN = "admin"  # the superuser's own database


def judge(case: Case) -> Iterator[Finding]:
    """One finding a service whose login is refused ("password authentication failed for user")."""
    for login, answer in zip(case.wanted.logins, (case.facts or {})["logins"], strict=True):
        if answer["ok"] is not False:
            continue  # where it could not be tried, another check says why
        fix, remedy = None, f"otobotctl client deploy {login.client}"
        if login.engine == "mongo" and login.database == _ADMIN:
            # Its init logs in with this password itself. PostgreSQL's comes in through the socket, and can set any.
            remedy = f"otobotctl secrets set {login.client} MONGO_PASSWORD, with the password that mongo has"
        elif login.engine in _INIT:
            # It sets the password of every role to what the release says.
            again = steps.run_again(login.client, _INIT[login.engine])
            fix = Fix(f"set the passwords of {login.client}'s database roles", (again,))
        yield Finding(
            "critical",
            f"{login.client}/{login.holder}",
            f"{login.role or 'its login'} cannot log in to {login.database or login.server}: {answer['said']}",
            remedy,
            fix,
        )


CHECK = Check("logins", "Every service logs in to its database.", judge)
