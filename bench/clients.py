"""
`python -m bench.clients`: what the Python client library costs and spares, beside the calls it replaces.

Verification in this process, the guard of a service, coalesced remote checks, a flood of random keys, and memory.
"""

import tempfile
from pathlib import Path

from bench import coalesced, guarded, local_checks, random_keys, verifier_memory
from bench.alone import Effort, run_alone, tell
from bench.stage import Stage

# Per effort: rounds, calls per round; flood: rounds, seconds each; live revocations.
_SIZES = {
    Effort.FULL: (7, 3000, 5, 2.0, 1_000_000),
    Effort.QUICK: (3, 1000, 2, 1.0, 100_000),
    Effort.TINY: (1, 32, 1, 0.1, 2000),
}


async def section(stage: Stage, effort: Effort) -> list[str]:
    """
    Return the section's lines.

    Raises:
        CallsFailed: some call was not answered as it should be.
        NotStarted: a process of a comparison did not get ready.

    """
    rounds, calls, flood_rounds, flood_s, facts = _SIZES[effort]
    lines = [f"Python client library; medians of {rounds} rounds"]
    tell("local verification")
    lines += await local_checks.measure(stage, rounds=rounds, calls=calls)
    tell("a service with the interceptor")
    lines += await guarded.measure(stage, rounds=rounds, calls=calls)
    tell("coalesced checks")
    lines += await coalesced.measure(stage, rounds=rounds, calls=calls)
    tell("random keys")
    lines += await random_keys.measure(stage, rounds=flood_rounds, seconds=flood_s)
    tell(f"a verifier with {facts:,} live revocations")
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as name:
        lines += await verifier_memory.measure(stage, Path(name), facts=facts)
    return lines


if __name__ == "__main__":
    run_alone("clients", __doc__, section)
