"""What writes and seals the audit trail beside the calls: refusals, batches, and what becomes of the configuration."""

from collections.abc import Mapping, Sequence

from authsvc.app.world import World
from authsvc.domain.errors import StoreUnavailable
from authsvc.ports import AuditEntry, AuditTrail, CallRecord, Event, Observer
from authsvc.service.audit_refusals import Refusals
from authsvc.service.audit_sealing import AuditSealer
from authsvc.service.keys import KeyDirectory
from authsvc.telemetry import Telemetry


class Auditing:
    """The background parts of one process; `stop` writes what was noted, so the record must still be open then."""

    def __init__(self, *, trail: AuditTrail, keys: KeyDirectory, world: World) -> None:
        self._trail = trail
        self._observer: Observer = world.telemetry
        self.refusals = Refusals(trail=trail, clock=world.clock, observer=world.telemetry)
        self._sealer = AuditSealer(
            trail=trail,
            keys=keys,
            clock=world.clock,
            entropy=world.entropy,
            observer=world.telemetry,
        )

    def start(self) -> None:
        """Begin to write refusals and to seal."""
        self.refusals.start()
        self._sealer.start()

    async def stop(self) -> None:
        """End both. Idempotent."""
        await self.refusals.stop()
        await self._sealer.stop()

    async def tell_configuration(
        self,
        event: str,
        *,
        by: str,
        names: Mapping[str, Sequence[str]],
    ) -> None:
        """
        Write down what a configuration now names, never its values.

        What happened has happened in this process's memory: a record that does not answer is told in the log.
        """
        entry = AuditEntry(event, by, ip="", details={name: list(values) for name, values in names.items()})
        try:
            await self._trail.record_audit([entry])
        except StoreUnavailable:
            self._observer.event(
                Event("audit.not_recorded", level="warning", fields={"error": "StoreUnavailable", "rows": 1})
            )


class CallsWithRefusals:
    """Telemetry for the wrapper round every call, which also notes whose calls were refused."""

    def __init__(self, telemetry: Telemetry, refusals: Refusals) -> None:
        self._telemetry = telemetry
        self._refusals = refusals
        self.event = telemetry.event
        self.gauge = telemetry.gauge

    def call(self, record: CallRecord) -> None:
        """See ports.Observer.call."""
        self._telemetry.call(record)
        if record.reason:
            self._refusals.note_call(record)
