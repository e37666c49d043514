"""A manifest file to frozen models, or every reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from otobotctl import shapes
from otobotctl.errors import ManifestError
from otobotctl.manifest import checks, document
from otobotctl.manifest.findings import Finding, in_file_order
from otobotctl.manifest.models import Manifest
from otobotctl.manifest.shape import ServiceShape

_HINT = "correct them, then run: otobotctl manifest validate"


def load(path: Path, services: Mapping[str, ServiceShape] | None = None) -> Manifest:
    """Return the manifest in `path`. Without `services`, their names and settings are not checked.

    Raises:
        ManifestError: `details` holds every finding, in the file's order.
    """
    return decode(document.read(path), path.name, services)


def decode(raw: bytes, name: str, services: Mapping[str, ServiceShape] | None = None) -> Manifest:
    """Return the manifest in `raw`; `name` is the file's, for messages. Raises ManifestError as `load` does."""
    parsed = document.parse(raw, name)
    try:
        manifest = shapes.decode(raw, Manifest)
    except msgspec.DecodeError as error:  # ValidationError is one; both may name a value, so nothing is chained
        findings = _all(parsed, services, whole=True) or (Finding((), str(error), ""),)
    else:
        findings = _all(parsed, services, whole=False)
        if not findings:
            return manifest
    many = f"{len(findings)} findings" if len(findings) > 1 else "1 finding"
    raise ManifestError(f"{name}: {many}", hint=_HINT, details=[str(finding) for finding in findings])


def findings(raw: bytes, name: str, services: Mapping[str, ServiceShape] | None = None) -> tuple[Finding, ...]:
    """Return everything wrong with the manifest in `raw`, in the file's order.

    Raises:
        ManifestError: it is not a JSON object at all.
    """
    return _all(document.parse(raw, name), services, whole=True)


def _all(parsed: document.Object, services: Mapping[str, ServiceShape] | None, *, whole: bool) -> tuple[Finding, ...]:
    future = checks.version(parsed)
    if future:
        return future
    found = list(checks.check(parsed, services))
    if whole:
        from otobotctl.manifest import structure

        said = {finding.path for finding in found}
        found += [finding for finding in structure.check(parsed) if finding.path not in said]
    return in_file_order(parsed, found)
