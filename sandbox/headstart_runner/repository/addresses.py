"""Keeps clones away from the network the sandbox itself is in."""

import asyncio
import socket

from headstart.domain.addresses import is_public
from headstart.domain.errors import GitNetworkError, RepositoryRefused


async def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a host; RepositoryRefused if any of its addresses is not public."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise GitNetworkError(f"The host {host} could not be resolved: {error}") from error
    addresses = sorted({str(item[4][0]) for item in found})
    for address in addresses:
        if not is_public(address):
            raise RepositoryRefused(
                f"{host} is at {address}, an address this deployment does not allow"
            )
    return addresses
