"""
`python deploy/audit.py LOCK`: ask the feed of known vulnerabilities about everything that a lock pins.

Exits 1 for a vulnerability, 0 if there is none, and 0 with a loud line if the feed does not answer: then nothing is known.
"""

import json
import subprocess
import sys


def main(lock: str) -> int:
    """Return the exit status."""
    words = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--requirement", lock]
    done = subprocess.run(  # noqa: S603 - our own words
        [*words, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _unknown(done.stderr.strip().splitlines()[-1:] or ["no answer"])
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return _unknown([f"none of {len(packages)} packages could be asked about"])
    found = 0
    for package in asked:
        for flaw in package["vulns"]:
            found += 1
            fixed = ", ".join(flaw["fix_versions"]) or "none yet"
            print(f"{package['name']} {package['version']}: {flaw['id']}, fixed in {fixed}")  # noqa: T201
    print(f"{len(asked)} of {len(packages)} packages asked about, {found} known vulnerabilities")  # noqa: T201
    return 1 if found else 0


def _unknown(why: list[str]) -> int:
    print(f"SKIPPED: the feed of vulnerabilities cannot be reached ({why[0]}); nothing was audited")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
