"""
A WeChat that answers on this machine, for developers without an AppID and for tests.

This package owns a small imitation of the server side of a mini-program login: apps, users, login
codes and session keys (``world``, ``identity``), the answers WeChat gives (``replies``), the ways it fails on
purpose (``faults``, ``delivery``), a record of what arrived (``arrivals``), the imitated endpoints
(``sns``) and a control API under ``/sandbox/v1`` (``control``). ``server`` puts them on a socket,
behind ``gate``.

It follows facts/wechat-api.md section 10. It imports aiohttp's server half and the standard library,
nothing else of authsvc, and it never opens a connection to anywhere: it only answers. Only the
command line starts it. The token, session-check and phone endpoints are not here yet; each becomes a
module beside ``sns``.
"""

from authsvc.sandbox.apps import DEFAULT_APP_ID, SANDBOX_APPS, RealLookingCredential, SandboxApp
from authsvc.sandbox.arrivals import Arrival, Arrivals
from authsvc.sandbox.faults import FAULT_HEADER, FAULTS, BadFault, Fault, FaultPlan, parse_fault
from authsvc.sandbox.identity import Identity
from authsvc.sandbox.replies import MARKER_HEADER
from authsvc.sandbox.server import SandboxServer
from authsvc.sandbox.world import (
    BadInput,
    CodeTaken,
    Refusal,
    Session,
    UnknownApp,
    World,
)

__all__ = [
    "DEFAULT_APP_ID",
    "FAULTS",
    "FAULT_HEADER",
    "MARKER_HEADER",
    "SANDBOX_APPS",
    "Arrival",
    "Arrivals",
    "BadFault",
    "BadInput",
    "CodeTaken",
    "Fault",
    "FaultPlan",
    "Identity",
    "RealLookingCredential",
    "Refusal",
    "SandboxApp",
    "SandboxServer",
    "Session",
    "UnknownApp",
    "World",
    "parse_fault",
]
