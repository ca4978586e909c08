"""
The parts of one running sandbox that its control API works on.
"""

from dataclasses import dataclass

from authsvc.sandbox.arrivals import Arrivals
from authsvc.sandbox.clock import SteeredClock
from authsvc.sandbox.cloud import Cloud
from authsvc.sandbox.faults import FaultPlan
from authsvc.sandbox.people import People
from authsvc.sandbox.world import World

PREFIX = "/sandbox/v1"
"""Where the control API begins."""


@dataclass(frozen=True, slots=True)
class Parts:
    """
    World, people and cloud as WeChat would know them; faults, arrivals and clock as a test does.
    """

    world: World
    people: People
    cloud: Cloud
    plan: FaultPlan
    arrivals: Arrivals
    clock: SteeredClock
