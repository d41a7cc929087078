"""Keeps what the sandbox asks of the world away from the network that it is in itself."""

import asyncio
import ipaddress
import socket

from headstart.domain.errors import GitNetworkError, RepositoryRefused

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an address is on the public internet, also when IPv4 hides in IPv6.

    Private, loopback, link-local (with the metadata services), carrier-grade NAT, unique local,
    multicast and reserved ranges are not (IANA special-purpose registries, RFC 6890).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast


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
