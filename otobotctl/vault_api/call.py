"""The operator's way in: requests on stdin, made from inside the container with the tokens that it has.

stdin: a JSON list of {"method", "path", "body"}. stdout: one JSON object a line, {"status", "body"}, in their order.
A request that is not answered ends it.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import contract

if TYPE_CHECKING:
    from .configuration import Settings


def run(settings: Settings, operator: str, port: int = contract.PORT) -> int:
    """Make the requests of stdin and return the exit code: 0 when every one was answered, whatever the answer."""
    if settings.operator_token is None or not settings.tokens:
        print("VAULT_OPERATOR_TOKEN and N8N_INTERNAL_TOKEN are not both set", file=sys.stderr)
        return 2
    try:
        for answer in answers(json.load(sys.stdin), headers(settings, operator), port):
            print(json.dumps(answer), flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(f"the vault does not answer on port {port}: {type(error).__name__}", file=sys.stderr)
        return 1
    return 0


def headers(settings: Settings, operator: str) -> dict[str, str]:
    """What opens every door of this vault's that this container has a token for."""
    found = {contract.OPERATOR_NAME_HEADER: operator}
    if settings.operator_token is not None:
        found[contract.OPERATOR_HEADER] = settings.operator_token.reveal()
    for name, tokens in ((contract.TOKEN_HEADER, settings.tokens), (contract.NODE_HEADER, settings.node_tokens)):
        found |= {name: tokens[0].reveal()} if tokens else {}
    return found


def answers(requests: Iterable[Mapping[str, Any]], headers: Mapping[str, str], port: int) -> Iterable[dict[str, Any]]:
    """Make the requests over one connection and yield their answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for request in requests:
            body = None if request.get("body") is None else json.dumps(request["body"])
            connection.request(request["method"], request["path"], body=body, headers=dict(headers))
            answer = connection.getresponse()
            data = answer.read()
            yield {"status": answer.status, "body": json.loads(data) if data else None}
    finally:
        connection.close()
