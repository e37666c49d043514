"""What secrets exist, how they are minted, and the sealed store they live in."""

from otobotctl.secrets.model import KINDS, Secret, SecretKind, SecretSpec

__all__ = ["KINDS", "Secret", "SecretKind", "SecretSpec"]
