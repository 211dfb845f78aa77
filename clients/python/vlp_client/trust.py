"""Certificates for https."""

from __future__ import annotations

import ssl

from vlp_client.address import Tls


def tls_context(tls: Tls | None) -> ssl.SSLContext | bool:
    """What httpx's `verify` takes; True for the authorities that it knows itself.

    Raises:
        OSError: a file cannot be read, or is no PEM.
    """
    if tls is None:
        return True
    context = ssl.create_default_context(cafile=None if tls.ca_file is None else str(tls.ca_file))
    if tls.cert_file is not None and tls.key_file is not None:
        context.load_cert_chain(str(tls.cert_file), str(tls.key_file))
    return context
