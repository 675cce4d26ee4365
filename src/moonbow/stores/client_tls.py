"""How a process of a region shows a node of its cluster who it is, and sees who the node is."""

from __future__ import annotations

import ssl

from moonbow.base.errors import ConfigError
from moonbow.world import SqlWay


def client_tls(way: SqlWay) -> ssl.SSLContext:
    """Both sides prove themselves; the node must bear the address that it is asked at.

    `ConfigError` if a certificate cannot be read.
    """
    try:
        tls = ssl.create_default_context(cafile=way.ca)
        tls.load_cert_chain(way.cert, way.key)
    except OSError as error:
        raise ConfigError(f"certificates of the SQL client: {error}") from error
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    return tls
