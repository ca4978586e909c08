"""
Run every client's own tests where its toolchain is, then the vectors, the runtimes and the live part (`make test-clients`).

What cannot run on this machine is listed at the end, loudly; it fails nothing. What runs and fails does.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-m", "long or not long")


@dataclass(frozen=True)
class Suite:
    """Commands run one after the other in a folder; they take part if `marker` exists there and `needs` are found."""

    name: str
    folder: str
    marker: str
    needs: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]

    def missing(self) -> str:
        """Say why it cannot run here, or nothing."""
        if not (ROOT / self.folder / self.marker).exists():
            return f"there is no {self.folder}/{self.marker}"
        return ", ".join(f"{tool} is not on the PATH" for tool in self.needs if shutil.which(tool) is None)

    def run(self) -> bool:
        """Return whether every command succeeded; the first that fails ends it."""
        for command in self.commands:
            sys.stdout.write(f"--- {self.name}: {' '.join(command)}\n")
            sys.stdout.flush()
            done = subprocess.run(command, cwd=ROOT / self.folder, check=False)  # noqa: S603 - our own table
            if done.returncode:
                return False
        return True


_NPM = (("npm", "ci", "--no-audit", "--no-fund"), ("npm", "test"))
SUITES = (
    Suite("go", "clients/go", "go.mod", ("go",), (("go", "vet", "./..."), ("go", "test", "./..."))),
    Suite("typescript", "clients/typescript", "package.json", ("node", "npm"), _NPM),
    Suite("java", "clients/java", "pom.xml", ("java", "mvn"), (("mvn", "-q", "-B", "verify"),)),
    Suite("miniprogram", "clients/miniprogram", "package.json", ("node", "npm"), _NPM),
    Suite("python", ".", "clients/python", (), ((*_PYTEST, "tests/conformance"),)),
    Suite("live", ".", "clients/conformance/live", (), ((sys.executable, "-m", "clients.conformance.live"),)),
)


def main() -> int:
    """Return the exit status."""
    skipped, failed = [], []
    for suite in SUITES:
        if why := suite.missing():
            skipped.append(f"{suite.name} ({why})")
        elif not suite.run():
            failed.append(suite.name)
    for name in failed:
        sys.stdout.write(f"FAILED: {name}\n")
    for line in skipped:
        sys.stdout.write(f"SKIPPED: {line}\n")
    ran = len(SUITES) - len(skipped)
    sys.stdout.write(f"{ran - len(failed)} of {len(SUITES)} client suites passed, {len(skipped)} skipped\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
