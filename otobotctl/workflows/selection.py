"""Which hosts a command is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.errors import UsageError

if TYPE_CHECKING:
    from otobotctl.manifest import ResolvedManifest


@dataclass(frozen=True)
class Selection:
    """Hosts by name, by tag (any of them), or every host of the manifest."""

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    every: bool = False

    def of(self, manifest: ResolvedManifest) -> tuple[str, ...]:
        """Return the names of the hosts, each once: named ones as they were named, others in the manifest's order.

        Raises:
            UsageError: nothing is named, --all and others are, or no host has the tag.
            ManifestError: a host is not in the manifest.
        """
        if not manifest.hosts:
            raise UsageError("the fleet has no hosts yet", hint="otobotctl host add NAME --address ADDRESS")
        if self.every and (self.names or self.tags):
            raise UsageError("--all is every host already", hint="leave it out, or leave out the others")
        if not (self.every or self.names or self.tags):
            raise UsageError("which hosts?", hint="name them, or give --tag TAG or --all")
        chosen = dict.fromkeys(manifest.host(name).name for name in self.names)
        for tag in self.tags:
            tagged = [host.name for host in manifest.hosts.values() if tag in host.tags]
            if not tagged:
                known = sorted({tag for host in manifest.hosts.values() for tag in host.tags})
                raise UsageError(f"no host has the tag {tag}", hint=f"tags: {', '.join(known) or 'none yet'}")
            chosen |= dict.fromkeys(tagged)
        return tuple(manifest.hosts if self.every else chosen)
