"""A manifest that is right, to make wrong ones from."""

import copy
import json

from otobotctl.manifest import ServiceShape, SettingShape

SERVICES = {
    "postgres": ServiceShape(
        "postgres",
        {
            "version": SettingShape(description="The image's tag"),
            "memory": SettingShape(pattern="[0-9]+[mg]", description="such as 1g"),
            "connections": SettingShape("integer", pattern="[1-9][0-9]*"),
            "tls": SettingShape("boolean"),
            "locale": SettingShape(choices=("fr_FR", "en_US")),
            "extensions": SettingShape("list"),
        },
    ),
    "nginx": ServiceShape("nginx"),
    "n8n": ServiceShape("n8n", subdomains=("n8n",)),
    "vault-api": ServiceShape("vault-api"),
    "token-refresher": ServiceShape("token-refresher"),
}

_RIGHT = {
    "$schema": "./clients-config.schema.json",
    "version": 1,
    "company": "Otobot",
    "defaults": {"environment": "prod", "timezone": "Europe/Paris", "settings": {"postgres": {"memory": "1g"}}},
    "environments": {"dev": {"settings": {"postgres": {"memory": "512m"}}, "backup": {"schedule": "never"}}},
    "recipients": [],
    "hosts": {
        "gate": {"address": "203.0.113.9"},
        "vps-1": {
            "address": "203.0.113.10",
            "user": "ubuntu",
            "jump": "gate",
            "tags": ["eu"],
            "docker": "distribution",
        },
    },
    "clients": {
        "acme": {
            "company": "ACME SAS",
            "email": "it@acme.example",
            "host": "vps-1",
            "domain": "acme.example",
            "index": 0,
            "settings": {"postgres": {"version": "16.4"}},
            "users": [{"email": "a@acme.example", "role": "admin"}],
        },
        "bold": {
            "company": "Bold",
            "email": "it@bold.example",
            "host": "vps-1",
            "domain": "bold.example",
            "index": 1,
            "environment": "dev",
            "services": ["nginx", "postgres"],
            "backup": {"keep_daily": 3},
        },
    },
}


def right():
    """A fresh copy."""
    return copy.deepcopy(_RIGHT)


def encoded(document):
    """As it stands in a file."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
