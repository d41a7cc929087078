"""Whom the runner's own connections trust."""

import ssl
from functools import cache


@cache
def authorities() -> ssl.SSLContext:
    """Return what a server's certificate is checked against: the authorities of the image.

    Read once, as that takes longer than many a transfer.
    """
    return ssl.create_default_context()
