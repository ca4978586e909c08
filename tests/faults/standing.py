"""`python -m tests.faults.standing FOLDER`: builds a cluster, says where its database is, and stands until it is killed."""

import asyncio
import sys
from pathlib import Path

from tests.faults.cluster import Plan, cluster
from tests.faults.history import History


async def _stand(folder: Path) -> None:
    plan = Plan(replicas=1, workers=2, postgres=True)
    async with cluster(folder, plan, history=History()) as whole:
        assert whole.postgres is not None
        sys.stdout.write(f"{whole.postgres.directory}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_stand(Path(sys.argv[1])))
