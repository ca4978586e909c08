"""What the parts of a process are built from."""

from dataclasses import dataclass

from authsvc.keys import DirectoryKeys, MasterRing
from authsvc.ports import Clock, Entropy
from authsvc.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class World:
    """What every part is given: the clock, the dice, and where to report."""

    clock: Clock
    entropy: Entropy
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Secrets:
    """The key material of one server."""

    master: MasterRing
    signing: DirectoryKeys
