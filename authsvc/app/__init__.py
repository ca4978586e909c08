"""
The composition root: settings become running parts, and stop in the order that loses nothing.

The only place that knows which adapter stands behind which port. Starting processes and reading command lines is
the business of `supervisor` and `cli`. `world` has what every part is given, `services` the use cases behind the
contract, `server` the gRPC server with everything, `edge` and `operations` the two HTTP listeners.
"""

from authsvc.app.edge import Edge
from authsvc.app.operations import build_ops
from authsvc.app.server import AppChanges, AuthServer
from authsvc.app.world import Secrets, World

__all__ = ["AppChanges", "AuthServer", "Edge", "Secrets", "World", "build_ops"]
