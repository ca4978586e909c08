"""
The HTTP edge: JSON over HTTP/1.1 for mini-programs and gateways, in front of the gRPC contract.

It owns shapes only: JSON in and out, headers, language, limits of a connection, the public pages. It is a *client* of
`authapi.v1` and holds no rule of its own: every verdict is the server's, every status and public text comes from
`authsvc.status`. It may import authapi, authsvc.status, authsvc.ports, authsvc.domain, aiohttp and grpc; never the
use cases, the storage or the configuration.
"""

from authsvc.edge.app import create_edge
from authsvc.edge.server import EdgeServer
from authsvc.edge.settings import EdgeSettings

__all__ = ["EdgeServer", "EdgeSettings", "create_edge"]
