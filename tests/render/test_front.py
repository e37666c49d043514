"""The host's proxy: one for all clients, and the only one in public."""

import pytest

from otobotctl.errors import ManifestError
from otobotctl.render.front import render_front
from otobotctl.render.sites import names_of
from tests.render.sample import catalog, composed, front, resolved, text


def both_self_signed(document):
    """No client of the sample wants ACME."""
    document["clients"]["acme"]["tls"] = "self-signed"


def test_one_proxy_serves_every_client():
    """Each client has its site, its page and its network in the one project."""
    release = front(resolved())
    tree = composed(release)
    assert (release.client, release.project) == ("front", "otobot-front")
    assert release.services == ("nginx", "acme")
    assert tree["networks"]["edge-acme"] == {"name": "otobot-acme_edge", "external": True}
    assert list(tree["services"]["nginx"]["networks"]) == ["default", "edge-acme", "edge-beta"]
    assert "server_name acme.example;" in text(release, "nginx/sites/acme.conf")
    assert "server_name beta.example;" in text(release, "nginx/sites/beta.conf")


def test_the_proxy_alone_listens_in_public():
    """80 and 443, over IPv4 and IPv6, are spelled out; nothing else is published."""
    services = composed(front(resolved()))["services"]
    assert services["nginx"]["ports"] == ["0.0.0.0:80:80", "[::]:80:80", "0.0.0.0:443:443", "[::]:443:443"]
    assert "ports" not in services["acme"]


def test_a_host_without_ipv6_gets_none():
    """Without IPv6 neither Docker nor nginx is asked for it."""
    fleet = resolved(lambda document: document.update(defaults={"settings": {"nginx": {"ipv6": False}}}))
    release = front(fleet)
    assert composed(release)["services"]["nginx"]["ports"] == ["0.0.0.0:80:80", "0.0.0.0:443:443"]
    assert "[::]" not in text(release, "nginx/nginx.conf") + text(release, "nginx/sites/acme.conf")


def test_the_order_of_the_clients_makes_no_difference():
    """Moving a client in the manifest changes no byte of the proxy."""
    fleet = resolved()
    clients = fleet.clients_of("vps-1")
    assert front(fleet) == render_front(fleet.host("vps-1"), clients[::-1], catalog())


def test_no_client_no_proxy():
    """A host whose clients want no proxy gets none."""
    fleet = resolved()
    assert render_front(fleet.host("vps-1"), (), catalog()) is None


def test_no_acme_no_certbot():
    """Where every certificate signs itself, nothing asks an authority."""
    assert front(resolved(both_self_signed)).services == ("nginx",)


def test_certificates_are_asked_for_by_name_and_authority():
    """Only clients of ACME are listed; dev asks the staging authority."""
    dev = resolved(lambda document: document["clients"]["acme"].update(environment="dev"))
    live = text(front(resolved()), "acme/certificates.txt").split()
    authority = "https://acme-v02.api.letsencrypt.org/directory"
    assert live == ["acme.example", "acme", "it@acme.example", authority, "acme.example"]
    assert "https://acme-staging-v02.api.letsencrypt.org/directory" in text(front(dev), "acme/certificates.txt")
    fleet = resolved()
    assert names_of(fleet.client("acme"), fleet.host("vps-1"), catalog()) == ("acme.example",)


PEM = "-----BEGIN CERTIFICATE-----\nMIIB+g==\n-----END CERTIFICATE-----\n"


def test_nothing_of_certbot_runs_until_the_host_asks():
    """No container of it is started by a deploy, and none is started again."""
    tree = composed(front(resolved()))["services"]["acme"]
    assert tree["deploy"] == {"replicas": 0}
    assert tree["restart"] == "no"
    assert not any("/otobot/ca/" in mount for mount in tree["volumes"])


@pytest.mark.parametrize(("proxy", "of", "at"), [("nginx", "acme", "/otobot/ca"), ("caddy", "caddy", "/etc/caddy/ca")])
def test_an_authority_of_the_companys_own_is_trusted_for_that_client_alone(proxy, of, at):
    """Its root is mounted where what asks for certificates looks, and no other client's is."""

    def change(document):
        document["defaults"] = {"services": ["postgres", proxy]}
        document["clients"]["acme"]["settings"] = {proxy: {"acme_ca": PEM}}
        document["clients"]["beta"]["tls"] = "acme"

    release = front(resolved(change))
    mounts = composed(release)["services"][of]["volumes"]
    assert f"./{of}/ca/acme.pem:{at}/acme.pem:ro" in mounts
    assert not any("beta.pem" in mount for mount in mounts)
    assert text(release, f"{of}/ca/acme.pem").strip() == PEM.strip()
    assert (
        "trusted_roots /etc/caddy/ca/acme.pem"
        in text(release, f"{proxy}/sites/acme.{'caddy' if proxy == 'caddy' else 'conf'}")
    ) is (proxy == "caddy")


@pytest.mark.parametrize("wrong", ["/etc/ssl/ca.pem", PEM.replace("CERTIFICATE", "PRIVATE KEY"), PEM + "}"])
def test_what_is_no_certificate_is_no_authority(wrong):
    """A path, a key or a line for Caddy's file is refused."""
    with pytest.raises(ManifestError) as error:
        resolved(lambda document: document["clients"]["acme"].update(settings={"nginx": {"acme_ca": wrong}}))
    assert "acme_ca" in str(error.value.details)


def test_browsers_are_not_bound_to_a_certificate_that_signs_itself():
    """HSTS comes with a real certificate alone: with another it would lock visitors out."""
    release = front(resolved())
    hsts = 'add_header Strict-Transport-Security "max-age=63072000" always;'
    assert hsts in text(release, "nginx/sites/acme.conf")
    assert "Strict-Transport-Security" not in text(release, "nginx/sites/beta.conf")


def test_health_goes_to_the_clients_own_vault():
    """The upstream is asked for at run time, under a name that no other client has."""
    site = text(front(resolved()), "nginx/sites/beta.conf")
    assert (
        "location = /health {\n        set $upstream vault-api.beta;\n        proxy_pass http://$upstream:3001;" in site
    )
    assert "/api/internal" not in site
    assert "resolver 127.0.0.11 valid=2s ipv6=off;" in text(front(resolved()), "nginx/nginx.conf")


def test_strangers_get_no_answer():
    """Who names none of the domains is cut off, before a certificate is shown."""
    conf = text(front(resolved()), "nginx/nginx.conf")
    assert conf.count("return 444;") == 2
    assert "ssl_reject_handshake on;" in conf
    assert "server_tokens off;" in conf
    assert "limit_req_status 429;" in conf


def test_the_company_is_shown_and_not_believed():
    """A company's name cannot become markup."""
    page = text(front(resolved()), "nginx/www/acme.html")
    assert "<h1>ACME &#34;Société&#34; &amp; $Fils &lt;SAS&gt;</h1>" in page


def test_clients_may_not_disagree_about_what_they_share():
    """There is one proxy, so there is one version of it."""
    fleet = resolved(lambda document: document["clients"]["beta"].update(settings={"nginx": {"version": "1.26.3"}}))
    with pytest.raises(ManifestError, match=r"disagree about the setting nginx\.version") as error:
        front(fleet)
    assert error.value.details == ("clients.acme: 1.28.2", "clients.beta: 1.26.3")


def test_what_is_a_clients_own_may_differ():
    """Each site has its own limits."""
    fleet = resolved(lambda document: document["clients"]["beta"].update(settings={"nginx": {"rate_per_second": 5}}))
    assert "rate=5r/s" in text(front(fleet), "nginx/sites/beta.conf")
    assert "rate=20r/s" in text(front(fleet), "nginx/sites/acme.conf")


def test_a_client_without_a_service_behind_the_proxy_has_no_network_to_join():
    """A network that nothing uses is never made, and the proxy would wait for it in vain."""
    fleet = resolved(lambda document: document["clients"]["beta"].update(services=["postgres", "nginx"]))
    assert "edge-beta" not in composed(front(fleet))["networks"]


def test_files_are_mounted_one_by_one():
    """A mounted folder of a release would be emptied when that release is pruned."""
    release = front(resolved())
    paths = {file.path for file in release.files}
    for tree in composed(release)["services"].values():
        sources = [mount.split(":")[0] for mount in tree["volumes"]]
        assert all(source[2:] in paths for source in sources if source.startswith("./"))
