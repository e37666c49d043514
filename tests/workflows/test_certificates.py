"""What is said of the certificates that a host serves."""

import pytest

from otobotctl.workflows.certificates import NOT_YET, SELF_SIGNED, judged

DAY_S, NOW = 86400, 1_000_000_000


def shown(days, lifetime=90.0, issuer="Let's Encrypt", *, self_signed=False):
    """What the agent tells of a certificate."""
    end = NOW + days * DAY_S
    return {"not_before": end - lifetime * DAY_S, "not_after": end, "issuer": issuer, "self_signed": self_signed}


@pytest.mark.parametrize(
    ("days", "lifetime", "due"),
    [
        (30, 90, False),
        (20.9, 90, True),
        (1, 6, True),
        (2, 6, False),
        (0.3, 0.5, False),
        (0.1, 0.5, True),
        (-1, 90, True),
    ],
)
def test_a_certificate_is_late_by_its_own_lifetime(days, lifetime, due):
    """Three weeks of ninety days are too few, and an hour of a day is; half of a short life is not."""
    assert judged([shown(60), shown(days, lifetime)], NOW, acme=True).due is due


def test_the_first_to_end_counts_and_every_issuer_is_named():
    """A client with two names on two certificates."""
    found = judged([shown(50), shown(40, issuer="step-ca")], NOW, acme=True)
    assert (found.days, found.words, found.issuer) == (40.0, "", "Let's Encrypt, step-ca")


def test_one_that_signs_itself_is_meant_or_missing():
    """What is right for a self-signed client is a certificate that never came for a client of ACME."""
    own = [shown(3000, 3650, "otobotctl", self_signed=True)]
    assert judged(own, NOW, acme=False).words == SELF_SIGNED
    assert judged(own, NOW, acme=True).words == NOT_YET


def test_what_caddy_signs_itself_until_the_authority_agrees_is_none_by_acme():
    """Its own authority's certificate has an issuer, which hides that ACME failed; behind nginx it is an authority."""
    own = [shown(0.4, 0.5, "Caddy Local Authority - ECC Intermediate")]
    assert judged(own, NOW, acme=True, caddy=True).words == NOT_YET
    assert judged(own, NOW, acme=True).words == ""


def test_no_certificate_at_all():
    """What the host could not show is said in its words."""
    found = judged([{"error": "Connection refused"}], NOW, acme=True)
    assert (found.days, found.words, found.issuer, found.due) == (None, "Connection refused", "", False)
