"""Every combination that the manifest allows is read by the real programs, renders whole, and shares no port."""

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.render import combinations
from tests.render.combinations import PROFILES, client, exposed, fronts, rendered_clients, rendered_front, subsets
from tests.render.sample import EVERYTHING, composed
from tests.render.test_caddy import caddy, run  # noqa: F401 - a fixture among them
from tests.render.test_caddy import lay_out as lay_out_caddy
from tests.render.test_nginx import certificate, checked, folder, lay_out, nginx  # noqa: F401 - fixtures among them

# What a template leaves behind when a value was missing, or was never meant to be text.
HOLE = re.compile(r"\{\{|\{%|%\}|\bNone\b|\bUndefined\b|<[\w.]+ object at|https://(?:[\s/.]|$)|^[A-Z0-9_]+=$")


def has_ipv6():
    """Whether this machine can listen on ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def ports():
    """`nginx -t` binds: addresses of the loopback, where nobody else is; [::] where the machine has IPv6."""
    six = "[::1]" if has_ipv6() else "127.0.0.2"
    return {
        **{f"listen {port}": f"listen 127.0.0.1:8{port}" for port in ("80", "443")},
        **{f"listen [::]:{port}": f"listen {six}:8{port}" for port in ("80", "443")},
    }


def certified(place, domains):
    """One certificate for every domain."""
    certificate(place, "any.example")
    for domain in domains:
        (place / "tls" / domain).symlink_to("any.example")


def accepted_by_nginx(program, place, release, domains):
    """What `nginx -t` has to say against a release; "": nothing."""
    place.mkdir(parents=True, exist_ok=True)
    conf = lay_out(place, release, (), ports())
    certified_by = place.parent / "tls"
    (place / "tls").symlink_to(certified_by)
    assert all((certified_by / domain).exists() for domain in domains)
    said = checked(program, conf)
    return said.stderr if said.returncode or "[warn]" in said.stderr else ""


def holes(release):
    """Every place of a release where a template left a hole."""
    return [
        f"{file.path}: {line}"
        for file in release.files
        if not file.path.endswith((".js", ".json", ".tar"))  # copied as they are, and never templates
        for line in file.content.decode().splitlines()
        if HOLE.search(line)
    ]


def test_the_combinations_are_all_there():
    """Of 255 sets of services those are taken that fit together, and each thing that a proxy can see is there."""
    assert len(subsets()) > 70
    assert EVERYTHING in subsets()
    assert ("token-refresher",) not in subsets()
    assert ("postgres",) in exposed()
    assert len(exposed()) == len({combinations.seen_by_a_proxy(services) for services in subsets()}) >= 16
    assert len(combinations.variants(fronts("nginx")[0])) == 4 * len(exposed())


@pytest.mark.parametrize("proxy", combinations.PROXIES)
def test_a_proxy_sees_no_more_of_the_services(proxy):
    """Sets of services that look alike to a proxy give it the same files, so that one of them stands for the others."""
    by_sight = {combinations.seen_by_a_proxy(services): services for services in exposed()}
    stands = {sight: rendered_front(client(0, (*services, proxy))) for sight, services in by_sight.items()}
    for services in subsets():
        assert rendered_front(client(0, (*services, proxy))) == stands[combinations.seen_by_a_proxy(services)], services


@pytest.mark.parametrize("profile", PROFILES)
def test_nginx_accepts_every_combination(nginx, folder, profile):  # noqa: F811
    """Each distinct front by itself, and then all clients on one host: nothing to say, and no file knows its neighbours."""
    program, version = nginx
    alone, together = {}, {}
    for front in (each for each in fronts("nginx", version) if each.profile == profile):
        clients = combinations.variants(front)
        together[front] = rendered_front(*clients)
        for each in clients:
            release = rendered_front(each)
            site = f"nginx/sites/{each.slug}.conf"
            assert release.file(site) == together[front].file(site)
            assert holes(release) == []
            # A site differs by its slug and domain from another that is otherwise the same.
            plain = tuple((f.path, f.content) for f in release.files)
            alone.setdefault(repr(plain).replace(each.slug, "v"), (release, each.domain))
    certified(folder, {f"v{number}.example" for number in range(4 * len(exposed()))})
    work = [(release, [domain]) for release, domain in alone.values()]
    work += [(release, []) for release in together.values()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(lambda job: accepted_by_nginx(program, folder / str(job[0]), *job[1]), enumerate(work))
        assert [text for text in said if text] == []
    assert len(alone) > len(exposed())


def test_caddy_accepts_every_combination(caddy, folder):  # noqa: F811
    """All clients that there can be on one host, for both profiles: `caddy validate` reads every site of them."""
    for number, profile in enumerate(PROFILES):
        front = next(each for each in fronts("caddy") if each.profile == profile)
        clients = combinations.variants(front)
        release = rendered_front(*clients)
        for each in clients:
            alone = rendered_front(each)
            assert alone.file(f"caddy/sites/{each.slug}.caddy") == release.file(f"caddy/sites/{each.slug}.caddy")
            assert alone.file("caddy/Caddyfile") == release.file("caddy/Caddyfile")
            assert holes(alone) == []
        place = folder / str(number)
        place.mkdir()
        certified(place, [each.domain for each in clients])
        conf = lay_out_caddy(place, release, ())
        said = run(caddy, place, "validate", "--config", conf, "--adapter", "caddyfile")
        assert said.returncode == 0, said.stderr[-2000:]


def test_every_client_renders_whole():
    """In every environment, with every set of services: no hole, no clash, public nowhere, and no unpinned image."""
    taken = {}
    for said, release in rendered_clients():
        assert holes(release) == [], said.services
        tree = composed(release)
        published = [port for each in tree["services"].values() for port in each.get("ports", ())]
        assert all(port.startswith("127.0.0.1:") for port in published)
        assert len(published) == len(set(published))
        for port in published:
            assert taken.setdefault(port, said.slug) == said.slug
        for each in tree["services"].values():
            assert {*each.get("depends_on", ())} <= {*tree["services"]}
            assert {*each.get("networks", ())} <= {*tree.get("networks", ())}
            named = [mount.split(":")[0] for mount in each.get("volumes", ()) if not mount.startswith((".", "/"))]
            assert {*named} <= {*tree.get("volumes", ())}


def test_a_hole_would_be_seen():
    """The check for holes is no check that cannot fail."""
    from otobotctl.render.release import RenderedFile, release

    for text in ("server_name None;", "rate={{ x }}", "url = https://", "x <jinja2.Undefined object at 0x1>", "NAME="):
        assert holes(release("x", "x", [RenderedFile("x", text.encode())], {})), text
