"""What the models cannot say: names that must exist, things that must differ. Pure, and tolerant of wrong shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from otobotctl.manifest import backups, gpu, settings, words
from otobotctl.manifest.document import Object, objects, texts
from otobotctl.manifest.findings import Finding, Path, show
from otobotctl.manifest.models import ENVIRONMENTS, VERSION, Defaults
from otobotctl.manifest.shape import ServiceShape

Services = Mapping[str, ServiceShape] | None
Check = Callable[[str], words.Wrong]


def version(document: Object) -> tuple[Finding, ...]:
    """Return the one finding of a manifest from the future: nothing else in it can be judged."""
    said = document.get("version")
    if isinstance(said, int) and not isinstance(said, bool) and said > VERSION:
        problem = f"this manifest needs a newer otobotctl (it is version {said}; this one knows {VERSION})"
        return (Finding(("version",), problem, "upgrade it: pip install --upgrade otobotctl"),)
    return ()


def check(document: Object, services: Services) -> Iterator[Finding]:
    """Yield what is wrong between the parts of the manifest, in no particular order."""
    yield from _duplicate_keys(document, ())
    if isinstance(document.get("version"), int) and document["version"] < 1:
        yield Finding(("version",), f"there is no version {document['version']}", f"write {VERSION}")
    yield from _text(document, (), {"company": words.line})
    yield from _recipients(document.get("recipients"))
    yield from _operators(objects(document, "operators"), objects(document, "hosts"))
    yield from _roles(objects(document, "roles"))
    yield from _hosts(objects(document, "hosts"))
    defaults = document.get("defaults")
    tls = defaults.get("tls", Defaults().tls) if isinstance(defaults, dict) else Defaults().tls
    yield from gpu.check(objects(document, "hosts"), objects(document, "clients"), tls)
    hosts = document.get("hosts", {})
    yield from _clients(objects(document, "clients"), hosts if isinstance(hosts, dict) else None, services)
    yield from _layers(document, services)
    yield from backups.check(document)


def _duplicate_keys(value: Any, path: Path) -> Iterator[Finding]:
    if isinstance(value, Object):
        for name in value.duplicates:
            yield Finding((*path, name), "is there twice", "keep one: the first is silently lost")
        for name, inner in value.items():
            yield from _duplicate_keys(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _duplicate_keys(inner, (*path, place))


def _recipients(recipients: Any) -> Iterator[Finding]:
    keys: dict[str, int] = {}
    for place, recipient in texts(recipients):
        path: Path = ("recipients", place)
        wrong = words.recipient(recipient)
        if wrong:
            yield Finding(path, *wrong)
            continue
        key = words.same_key(recipient)
        if keys.setdefault(key, place) != place:
            yield Finding(path, f"is the same key as {show(('recipients', keys[key]))}", "keep one")


def _operators(operators: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    tags = {tag for host in hosts.values() for _, tag in texts(host.get("tags"))}
    for name, operator in operators.items():
        path: Path = ("operators", name)
        yield from _wrong(path, words.operator(name))
        for place, key in texts(operator.get("keys")):
            yield from _wrong((*path, "keys", place), words.login_key(key))
        if operator.get("sudo") is True and operator.get("role") is not None:
            yield Finding((*path, "role"), "and sudo exclude each other", "leave one of them out")
        for what, known in (("hosts", {*hosts}), ("tags", tags)):
            for place, wanted in texts(operator.get(what)):
                if wanted not in known:
                    problem = f'there is no host "{wanted}"' if what == "hosts" else f'no host has the tag "{wanted}"'
                    yield Finding((*path, what, place), problem, words.suggest(wanted, sorted(known)))


def _roles(roles: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    for name, role in roles.items():
        path: Path = ("roles", name)
        yield from _wrong(path, words.slug(name))
        for what, check_one in (("host", words.command), ("inside", words.command), ("paths", words.directory)):
            for place, text in texts(role.get(what)):
                yield from _wrong((*path, what, place), check_one(text))


def _hosts(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    checked = {
        "address": words.address,
        "user": words.login,
        "stack": words.slug,
        "playbook": words.slug,
    }
    taken: dict[tuple[str, ...], str] = {}
    for name, host in hosts.items():
        path: Path = ("hosts", name)
        yield from _name(path, name)
        yield from _text(host, path, checked)
        for place, tag in texts(host.get("tags")):
            yield from _wrong((*path, "tags", place), words.slug(tag))
        yield from _jump(name, hosts)
        address, port = host.get("address"), host.get("port", 22)
        if isinstance(address, str) and not words.address(address):
            # Behind different jump hosts, the same private address is another machine.
            first = taken.setdefault((words.same_address(address), str(port), str(host.get("jump"))), name)
            if first != name:
                where = f"{address} port {port}"
                yield Finding((*path, "address"), f"{where} is hosts.{first} already", "one machine is one host")


def _jump(name: str, hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    path: Path = ("hosts", name, "jump")
    jump = hosts[name].get("jump")
    if not isinstance(jump, str):
        return
    if jump not in hosts:
        yield Finding(
            path, f'there is no host "{jump}"', words.suggest(jump, (other for other in hosts if other != name))
        )
        return
    seen = [name]
    following: Any = jump
    while isinstance(following, str) and following in hosts and following not in seen:
        seen.append(following)
        following = hosts[following].get("jump")
    if following == name and name == next(other for other in hosts if other in seen):  # said once a circle
        yield Finding(path, f"goes in a circle: {' -> '.join((*seen, name))}", "let one of them be reached directly")


def _clients(
    clients: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Any] | None, services: Services
) -> Iterator[Finding]:
    checked = {
        "company": words.line,
        "email": words.email,
        "domain": words.domain,
        "timezone": words.timezone,
    }
    domains: dict[str, str] = {}
    slots: dict[tuple[str, int], str] = {}
    for slug, client in clients.items():
        path: Path = ("clients", slug)
        yield from _name(path, slug)
        yield from _text(client, path, checked)
        yield from _users(client.get("users"), path)
        yield from settings.check(client, path, services)
        host, domain = client.get("host"), client.get("domain")
        index = client["index"] if isinstance(client.get("index"), int) else 0
        if isinstance(host, str) and hosts is not None and host not in hosts:
            yield Finding((*path, "host"), f'there is no host "{host}"', _host_remedy(host, hosts))
        elif isinstance(host, str) and (first := slots.setdefault((host, index), slug)) != slug:
            free = next(slot for slot in range(len(clients) + 1) if slot not in _slots(clients, host))
            problem = f"slot {index} of {host} is clients.{first}'s"
            yield Finding((*path, "index"), problem, f'write "index": {free} for the newer of the two')
        if isinstance(domain, str):
            first = domains.setdefault(gpu.name_of(domain), slug)
            if first != slug:
                yield Finding((*path, "domain"), f"{domain} is clients.{first}'s", "give each client its own domain")
    yield from _names_of_services(domains, services)


def _names_of_services(domains: Mapping[str, str], services: Services) -> Iterator[Finding]:
    """A client's domain may not be the name of another one's service, also of one that it may choose later."""
    words_before = {word for shape in (services or {}).values() for word in shape.subdomains}
    for domain, slug in domains.items():
        word, _, rest = domain.partition(".")
        owner = domains.get(rest)
        if owner is not None and word in words_before:
            problem = f"{domain} is the name of a service of clients.{owner}"
            yield Finding(("clients", slug, "domain"), problem, "give it a domain that begins otherwise")


def _slots(clients: Mapping[str, Mapping[str, Any]], host: str) -> set[Any]:
    indexes = (client.get("index", 0) for client in clients.values() if client.get("host") == host)
    return {index for index in indexes if isinstance(index, int)}


def _host_remedy(host: str, hosts: Mapping[str, Any]) -> str:
    return words.suggest(host, hosts) if hosts else f"add it: otobotctl host add {host} --address ..."


def _users(users: Any, path: Path) -> Iterator[Finding]:
    taken: dict[str, int] = {}
    for place, user in enumerate(users if isinstance(users, list) else ()):
        email = user.get("email") if isinstance(user, dict) else None
        if not isinstance(email, str):
            continue
        here: Path = (*path, "users", place, "email")
        yield from _wrong(here, words.email(email))
        if taken.setdefault(email.lower(), place) != place:
            yield Finding(here, f"{email} is users[{taken[email.lower()]}] already", "keep one")


def _layers(document: Object, services: Services) -> Iterator[Finding]:
    """Check the defaults and the environments."""
    defaults = document.get("defaults")
    if isinstance(defaults, dict):
        yield from _text(defaults, ("defaults",), {"timezone": words.timezone})
        yield from settings.check(defaults, ("defaults",), services)
    for name, environment in objects(document, "environments").items():
        path: Path = ("environments", name)
        if name not in ENVIRONMENTS:
            yield Finding(path, f'there is no environment "{name}"', words.suggest(name, ENVIRONMENTS))
        yield from settings.check(environment, path, services)


def _name(path: Path, name: str) -> Iterator[Finding]:
    yield from _wrong(path, words.slug(name))


def _text(
    holder: Mapping[str, Any], path: Path, checked: Mapping[str, Callable[[str], words.Wrong]]
) -> Iterator[Finding]:
    for name, look in checked.items():
        if isinstance(holder.get(name), str):
            yield from _wrong((*path, name), look(holder[name]))


def _wrong(path: Path, wrong: words.Wrong) -> Iterator[Finding]:
    if wrong:
        yield Finding(path, *wrong)
