"""Which key is put in which placeholder's place, and on the way to where."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Route:
    """A provider of models: its address, and the keys that are for it by their placeholders.

    `named` says that the deployment itself wrote the address, which may then be a private one;
    `headers` are those beside the usual ones in which its settings send a key, in lower case.
    """

    base: str
    keys: Mapping[str, str] = field(repr=False)
    named: bool
    headers: frozenset[str] = frozenset()


@dataclass(slots=True)
class Traffic:
    """What has gone to a provider: requests that were passed on, bytes of bodies there and back."""

    requests: int = 0
    sent: int = 0
    received: int = 0
