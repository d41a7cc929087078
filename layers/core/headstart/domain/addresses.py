"""Which addresses are on the public internet: the one rule of clones and callbacks."""

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out for use on the internet (IANA, "IPv6 Global Unicast Address
Assignments"); some ways to write IPv4 in IPv6 are elsewhere."""


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
        if ip.teredo is not None or ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast
