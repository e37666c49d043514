"""The specs of every step kind, one a module; a module is imported when its kind is first named."""

from __future__ import annotations

from importlib import import_module

from otobotctl.plan.model import Spec

KINDS = (
    "apt_repository",
    "authorized_key",
    "backup",
    "command",
    "compose_release",
    "directory",
    "docker_image",
    "earlier_release",
    "file",
    "firewall",
    "group",
    "line",
    "login",
    "nvidia_driver",
    "ollama_model",
    "operators",
    "package",
    "provision",
    "reboot",
    "restore",
    "service",
    "shield",
    "sshd_config",
    "swap",
    "symlink",
    "sysctl",
    "timer",
    "user",
    "wait_for",
)


def spec_class(kind: str) -> type[Spec]:
    """The Spec subclass of `kind`, which its module names SPEC. Raises KeyError for a kind that does not exist."""
    if kind not in KINDS:
        raise KeyError(kind)
    found: type[Spec] = import_module(f"{__name__}.{kind}").SPEC
    return found
