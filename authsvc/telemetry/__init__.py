"""
What operators see: the Observer implementation over JSON or human logs and Prometheus metrics.

Owns the form of every log line, what is redacted from it, and the names of the metrics. What is worth reporting is
the core's decision; where the exposition is served is `ops`'. Fields and events: docs/operations/log-fields.md.
May import: ports, domain.
"""

from authsvc.telemetry.logs import REDACTED, configure_logging, current_request
from authsvc.telemetry.merging import Page, Totals
from authsvc.telemetry.metrics import Metrics
from authsvc.telemetry.observer import Telemetry

__all__ = ["REDACTED", "Metrics", "Page", "Telemetry", "Totals", "configure_logging", "current_request"]
