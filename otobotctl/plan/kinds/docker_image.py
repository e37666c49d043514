"""An image that is on the host, pulled or built there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.contents import Content, digest, refuse_twins
from otobotctl.plan.model import Change, Facts, Spec

_NAME = r"(?:[a-z0-9][a-z0-9.-]*(?::\d+)?/)?[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*"
TAG_LENGTH = 12


class DockerImageSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Either `pull`, a reference, or `name` and `files`, a build context with its Dockerfile.

    What is built is called `name:tag`; without a `tag`, the context's digest is the tag. The context and the build
    arguments hold nothing secret.
    """

    kind: ClassVar[str] = "docker_image"

    pull: Annotated[str, Meta(pattern=rf"\A{_NAME}(?::[\w.-]+)?(?:@sha256:[0-9a-f]{{64}})?\Z")] | None = None
    name: Annotated[str, Meta(pattern=rf"\A{_NAME}\Z")] | None = None
    tag: Annotated[str, Meta(pattern=r"\A\w[\w.-]{0,127}\Z")] | None = None
    files: tuple[Content, ...] = ()
    args: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        if (self.pull is None) == (self.name is None):
            raise ValueError("give `pull`, or `name` and `files` to build")
        if self.pull is not None and (self.files or self.tag or self.args):
            raise ValueError("what is pulled has no files, tag or args of its own")
        if self.name is not None and not self.files:
            raise ValueError("give the `files` of the build context")
        refuse_twins(self.files)

    def context(self) -> str:
        """The digest of the build context and its arguments."""
        return digest(self.files, *(f"{name}={value}" for name, value in sorted(self.args.items())))

    def reference(self) -> str:
        """What the image is called on the host."""
        return self.pull or f"{self.name}:{self.tag or self.context()[:TAG_LENGTH]}"

    def question(self) -> dict[str, Any]:
        """The reference."""
        return {"reference": self.reference()}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By whether the image is there, and was built from this context."""
        if self.pull is not None:
            return () if facts["id"] else (Change("image", "absent", "pulled"),)
        if facts["id"] is None:
            return (Change("image", "absent", "built"),)
        if facts["context"] != self.context():
            return (Change("image", "built from other files", "built again"),)
        return ()

    def wire(self) -> dict[str, Any]:
        """The reference, and for a build its context."""
        if self.pull is not None:
            return self.question()
        context = {"context": self.context(), "files": [file.wire() for file in self.files], "args": dict(self.args)}
        return {**self.question(), **context}

    def title(self) -> str:
        """The reference."""
        return self.reference()

    def commands(self) -> tuple[str, ...]:
        """docker, as by hand."""
        if self.pull is not None:
            return (f"docker pull {self.pull}",)
        args = "".join(f" --build-arg {shlex.quote(f'{name}={value}')}" for name, value in sorted(self.args.items()))
        label = f"--label otobot.context={self.context()}"
        return (f"docker build --tag {self.reference()} {label}{args} - < CONTEXT.tar",)


SPEC = DockerImageSpec
