"""
`python -m tests.faults.planted [WORD...]`: plants every bug (or those whose name has a word) and prints what came of it.

First the tests run on an unharmed copy, where they must pass: a test that fails anyway catches nothing. Exit status 0
if every bug was caught.
"""

# ruff: noqa: T201 - printing is what it is for

import sys
from collections.abc import Sequence

from tests.faults.planted.bugs import BUGS, Bug
from tests.faults.planted.trial import Verdict, judge, run, tree


def main(words: Sequence[str]) -> int:
    """Try the bugs and print a line for each; return the exit status."""
    chosen = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    wrong = [*_unharmed(chosen), *filter(None, map(_try, chosen))]
    print(f"{len(chosen)} bugs, {len(wrong)} problems")
    return 1 if wrong or not chosen else 0


def _unharmed(bugs: Sequence[Bug]) -> list[str]:
    with tree() as folder:
        selections = dict.fromkeys(tuple(bug.tests) for bug in bugs)
        failing = []
        for tests in selections:
            status, said = run(tests, folder)
            if status != 0:
                failing.append(" ".join(tests))
                print(f"FAILS UNHARMED  {failing[-1]}\n{said}")
    return failing


def _try(bug: Bug) -> str:
    verdict, said = judge(bug)
    print(f"{verdict:8}{bug.name}", flush=True)
    if verdict is Verdict.CAUGHT:
        return ""
    print(said, flush=True)
    return bug.name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
