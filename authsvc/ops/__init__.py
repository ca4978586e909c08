"""
The operations listener: metrics and health, apart from what serves users.

Owns no truth: it shows what the observer measured and what the parts say of their readiness. Imports: ports, domain.
"""

from authsvc.ops.server import OpsServer, Probe

__all__ = ["OpsServer", "Probe"]
