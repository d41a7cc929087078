"""The session's secrets, opened: in this process's memory and nowhere else."""

from collections.abc import Mapping


class Vault:
    """Names and values of the secrets that the session's owner sealed."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    @property
    def values(self) -> Mapping[str, str]:
        """All of them by name."""
        return self._values

    def get(self, name: str) -> str | None:
        """Return a secret's value, None for one that there is not."""
        return self._values.get(name)
