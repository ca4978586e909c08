"""
The operations listener: metrics and health, apart from what serves users.

Owns no truth: it shows what the observer measured and what the parts say of their readiness. Imports: ports, domain,
telemetry.
"""

from authsvc.ops.server import Exposition, OpsServer, Probe
from authsvc.ops.workers import Workers, last_words

__all__ = ["Exposition", "OpsServer", "Probe", "Workers", "last_words"]
