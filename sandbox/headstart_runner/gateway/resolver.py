"""Where a host is, as a client of ours is told: a connection goes to what was checked."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from headstart_runner.gateway.addresses import addresses_of


class CheckedResolver(AbstractResolver):
    """Resolves hosts to public addresses only, unless private ones are allowed.

    No client asks about what is an address already: whoever makes one looks at that itself.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return where a host is; RepositoryRefused, GitNetworkError."""
        found = await addresses_of(host, port, allow_private=self._allow_private)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Have nothing to close."""
