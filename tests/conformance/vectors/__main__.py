"""Write the vectors, or with `--check` say which of them are not current."""

import sys
from pathlib import Path

from tests.conformance.vectors.files import FILES, text_of

FOLDER = Path(__file__).parents[3] / "clients" / "conformance"


def main(*words: str) -> int:
    """Return the exit status."""
    stale = []
    for name, make in FILES.items():
        path, text = FOLDER / name, text_of(make())
        if "--check" not in words:
            path.write_text(text, "ascii")
        elif not path.exists() or path.read_text("ascii") != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"not current, run `make vectors`: {', '.join(stale)}\n")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
