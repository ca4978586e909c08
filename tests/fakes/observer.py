"""An observer that remembers."""

from collections.abc import Callable

from authsvc.ports import CallRecord, Event


class RecordingObserver:
    """Implements ports.Observer by keeping everything in lists."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.calls: list[CallRecord] = []
        self.gauges: dict[str, Callable[[], float]] = {}

    def event(self, event: Event) -> None:
        self.events.append(event)

    def call(self, record: CallRecord) -> None:
        self.calls.append(record)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        self.gauges[name] = read

    def named(self, name: str) -> list[Event]:
        """The events of this name, in order."""
        return [event for event in self.events if event.name == name]
