"""Logging as a fixture: configured onto a string, the process's own configuration put back afterwards."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import structlog

from authsvc.telemetry import Telemetry, configure_logging
from tests.fakes import FakeClock, SeededEntropy

LIBRARIES = ("aiohttp", "aiohttp.access", "alembic", "asyncio", "grpc", "sqlalchemy")


class Written:
    """What was logged, as text and as parsed lines."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.clock = FakeClock()

    def configure(self, *, json: bool = True, level: str = "info") -> Any:
        others = list(logging.getLogger().handlers)
        logger = configure_logging(
            json=json, level=level, service="authsvc-test", stream=self.stream, clock=self.clock
        )
        for handler in others:  # pytest's own would fail the test for a record that cannot be formatted
            logging.getLogger().removeHandler(handler)
        return logger

    def telemetry(self, *, level: str = "info", **options: Any) -> Telemetry:
        return Telemetry(logger=self.configure(level=level), entropy=SeededEntropy(), **options)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    loggers = [logging.getLogger(name) for name in ("", *LIBRARIES)]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield Written()
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
def samples() -> Callable[[str, str], dict[tuple[tuple[str, str], ...], float]]:
    """Read an exposition's samples of one name: labels to value."""
    from prometheus_client.parser import text_string_to_metric_families

    def read(exposition: str, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
            if sample.name == name
        }

    return read
