"""A secret, and what is known about one before it exists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

Course = Literal["", "pair", "overlap", "restart", "key-ring", "repositories", "refused"]
SecretKind = Literal["hex16", "hex32", "hex64", "base64url48", "password", "ed25519", "given"]
KINDS: tuple[str, ...] = get_args(SecretKind)


def previous(name: str) -> str:
    """The name under which the value before is kept while a secret is rotated."""
    return f"{name}_PREVIOUS"


class Secret:
    """A value that must not be shown. Only `reveal` gives it out; printing, pickling or serialising never does."""

    __slots__ = ("__reveal", "fingerprint", "name", "turn")

    name: str
    turn: int  # of two database logins that take turns, which one has this password
    fingerprint: str  # as its store's metadata has it; "" where it is in no store
    __reveal: Callable[[], str]

    def __init__(self, name: str, value: str, turn: int = 0, fingerprint: str = "") -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "turn", turn)
        object.__setattr__(self, "fingerprint", fingerprint)
        # A closure and not an attribute: tools that dump objects by their fields then find no value to dump.
        object.__setattr__(self, "_Secret__reveal", lambda: value)

    def reveal(self) -> str:
        """Return the value. It may go to a command's stdin or a 0600 file, nowhere else."""
        return self.__reveal()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{self!r} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self!r} cannot be changed")

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __format__(self, form: str) -> str:
        return format(repr(self), form)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac

        return self.name == other.name and hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of the value would tell something about it

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled")


@dataclass(frozen=True)
class SecretSpec:
    """A secret that a service needs.

    `rotate_days` is how old it may get, None for ever; `given` means that only a person can tell it.

    `rotation` is how it is exchanged while its services run: `pair`, two database logins take turns; `overlap`, the
    value before is accepted beside the new one, and for `hold_s` seconds after the new one is in use; `restart`, its
    service knows one value; `key-ring`, by the vault's own procedure; `repositories`, every backup repository is given
    the new one before any other place is; `refused`, it cannot be. `because` says why not, or what the exchange ends.
    """

    name: str
    kind: SecretKind
    service: str
    rotate_days: int | None = None
    given: bool = False
    description: str = ""
    rotation: Course = ""
    hold_s: int = 0
    because: str = ""
