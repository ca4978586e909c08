"""The table, the targets, the memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median

from bench.measure import Results
from bench.processes import Process
from bench.rows import BY_CLIENT, BY_H2LOAD, CHECKED, FIRST_SEEN, Names, Row

CACHED_ADDED_US = 30.0
FIRST_SEEN_ADDED_US = 40.0
IDLE_RSS_MIB = 120 * 1e6 / 2**20  # 120 MB
DEV_READY_S = 3.0
FACTS_RSS_MIB = 100 * 1e6 / 2**20  # 100 MB
FACTS_START_S = 10.0
FACTS_SHARE = 5.0


@dataclass(frozen=True, slots=True)
class Idle:
    """What is measured before the load: memory after the start, and how long `authsvc dev` takes to be ready."""

    rss_mib: dict[str, float]
    dev_ready_s: list[float]


def table(rows: Sequence[Row], results: Results) -> Iterator[str]:
    """Yield the table's lines: medians over the rounds."""
    head = ("", "load by", "calls/s", "CPU µs/call", "added µs", "ratio", "p50 ms", "p99 ms")
    form = "{:<34}{:<17}{:>9}{:>13}{:>10}{:>7}{:>9}{:>9}"
    yield form.format(*head)
    group = ""
    for row in rows:
        if group and row.baseline != group:
            yield ""
        group = row.baseline
        samples = results.samples[row.name]
        yield form.format(
            row.name,
            row.generator,
            f"{median(sample.rate for sample in samples):.0f}",
            f"{results.cpu_us(row.name):.1f}",
            "-" if row.name == row.baseline else f"{results.added_us(row.name, over=row.baseline):+.1f}",
            f"{results.ratio(row.name, over=row.baseline):.2f}",
            f"{median(sample.p50_ms for sample in samples):.2f}",
            f"{median(sample.p99_ms for sample in samples):.2f}",
        )
    yield ""
    yield form.format(
        "bare ES256 check", "in process", "", f"{results.bare_check_us():.1f}", "", "", "", ""
    ).rstrip()


def memory(processes: Sequence[Process], idle: Idle) -> Iterator[str]:
    """Yield the resident memory of each process, idle and now."""
    yield f"{'RSS, MiB':<34}{'idle':>9}{'after the load':>17}"
    for process in processes:
        yield f"{process.name:<34}{idle.rss_mib[process.name]:>9.1f}{process.rss_mib():>17.1f}"


def targets(results: Results, idle: Idle) -> Iterator[str]:
    """Yield one line per target, with what was measured."""
    for names in (BY_H2LOAD, BY_CLIENT):
        if names.cached in results.samples:
            yield target(f"{names.cached}: added CPU", _added(results, names), CACHED_ADDED_US, "µs")
    beyond = results.added_us(FIRST_SEEN, over=BY_CLIENT.echo) - results.bare_check_us()
    yield target("first seen: added CPU beyond the bare check", beyond, FIRST_SEEN_ADDED_US, "µs")
    beyond = results.added_us(FIRST_SEEN, over=CHECKED)
    yield target("first seen: added CPU beyond echo + check", beyond, FIRST_SEEN_ADDED_US, "µs")
    yield target("idle server (serve): RSS", idle.rss_mib["serve"], IDLE_RSS_MIB, "MiB")
    first, *later = idle.dev_ready_s
    yield target("authsvc dev ready, first start", first, DEV_READY_S, "s")
    if later:
        yield target("authsvc dev ready, later starts", median(later), DEV_READY_S, "s")


def facts(figures: Mapping[str, float], results: Results) -> Iterator[str]:
    """Yield what the live revocations cost, against their targets (stated for 1,000,000)."""
    yield f"{figures['facts']:,.0f} live revocations (SQLite)"
    yield target("memory", figures["added_rss_mib"], FACTS_RSS_MIB, "MiB")
    yield target("start-up: loading them", figures["start_s"], FACTS_START_S, "s")
    share = figures["added_us"] / (results.cpu_us(BY_CLIENT.cached) or inf) * 100
    yield target(f"VerifyToken, cached: {figures['added_us']:.2f} µs more, in %", share, FACTS_SHARE, "%")


def _added(results: Results, names: Names) -> float:
    return results.added_us(names.cached, over=names.echo)


def target(what: str, measured: float, limit: float, unit: str, *, at_least: bool = False) -> str:
    """Return the line of a target: what was measured, its upper (or lower) limit, and whether it is met."""
    is_met, sign = (measured >= limit, ">=") if at_least else (measured <= limit, "<=")
    figure = f"{measured:>9.2f}" if isfinite(measured) else f"{'-':>9}"
    return f"{what:<46}{figure} {unit:<4} target {sign} {limit:<7.6g} {'met' if is_met else 'MISSED'}"
