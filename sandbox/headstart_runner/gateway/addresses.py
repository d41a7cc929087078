"""Keeps what the sandbox asks of the world away from the network that it is in itself."""

import asyncio
import socket

from headstart.domain.addresses import is_public
from headstart.domain.errors import GitNetworkError, RepositoryRefused


async def addresses_of(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Resolve a host, or take it for the address that it is.

    RepositoryRefused if any of its addresses is not public, unless that is allowed;
    GitNetworkError where it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise GitNetworkError(f"The host {host} could not be resolved: {error}") from error
    # In the order in which the system would try them (RFC 6724), each once.
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    for address in addresses:
        if not allow_private and not is_public(address):
            raise RepositoryRefused(
                f"{host} is at {address}, an address this deployment does not allow"
            )
    return addresses
