"""
A WeChat that answers on this machine, for developers without an AppID and for tests.

This package owns a small imitation of the server side of a mini-program: what WeChat knows (``world``, ``people``,
``tokens``, ``session_keys``, ``phones``, ``cloud``), the imitated endpoints (``sns``, ``cgi_bin``, ``wxa``) and how
their answers look (``replies``), the ways they fail on purpose (``faults``, ``delivery``, brought together in
``pipeline``), encrypted data and its hostile variants (``user_data``, ``crypto``), a record of what arrived
(``arrivals``), and a control API under ``/sandbox/v1`` (``control``, ``console``, ``device``). ``server`` puts them on a
socket, behind ``gate``.

It follows facts/wechat-api.md section 10 and reproduces WeChat's published examples before it listens (``vectors``).
It imports aiohttp's server half, cryptography and the standard library, nothing else of authsvc, and it never opens
a connection to anywhere: it only answers. Only the command line starts it.
"""

from authsvc.sandbox.apps import (
    DEFAULT_APP_ID,
    SANDBOX_APPS,
    RealLookingCredential,
    SandboxApp,
    UnknownApp,
)
from authsvc.sandbox.arrivals import Arrival, Arrivals
from authsvc.sandbox.codes import CodeTaken
from authsvc.sandbox.faults import FAULT_HEADER, FAULTS, BadFault, Fault, FaultPlan, parse_fault
from authsvc.sandbox.identity import Identity
from authsvc.sandbox.outcomes import BadInput, Refusal, Session
from authsvc.sandbox.replies import MARKER_HEADER
from authsvc.sandbox.server import SandboxServer
from authsvc.sandbox.tokens import Grant, Limits
from authsvc.sandbox.user_data import VARIANTS, UserData
from authsvc.sandbox.vectors import SelfCheckFailed
from authsvc.sandbox.world import Switches, World

__all__ = [
    "DEFAULT_APP_ID",
    "FAULTS",
    "FAULT_HEADER",
    "MARKER_HEADER",
    "SANDBOX_APPS",
    "VARIANTS",
    "Arrival",
    "Arrivals",
    "BadFault",
    "BadInput",
    "CodeTaken",
    "Fault",
    "FaultPlan",
    "Grant",
    "Identity",
    "Limits",
    "RealLookingCredential",
    "Refusal",
    "SandboxApp",
    "SandboxServer",
    "SelfCheckFailed",
    "Session",
    "Switches",
    "UnknownApp",
    "UserData",
    "World",
    "parse_fault",
]
