"""The real n8n finds the package under the seeds' name."""

from __future__ import annotations

from tests.n8n import package


def test_the_type_name_comes_out_right(n8n):
    """The node is n8n-nodes-otobot.otobotCredentialFetcher, which the seeds' workflows name, with connections of type main."""
    node = n8n.node_types()[package.TYPE]
    assert node["displayName"] == "Otobot Credential Fetcher"
    assert (node["inputs"], node["outputs"]) == (["main"], ["main"])
    assert [each["name"] for each in node["credentials"]] == [package.LOGIN]
