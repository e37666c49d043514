"""A folder of a service as one file of the release: containers mount single files, and a package is many."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a tar in which `files` are below package/, as in npm's own. The same files give the same bytes anywhere.

    It is not compressed: two releases of zlib need not agree, and every deploy would then replace the other's.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
