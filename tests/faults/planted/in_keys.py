"""Bugs in the life of signing keys."""

from tests.faults.planted.bug import Bug, Change

_LIFE = "tests/domain/test_signing_keys.py"
_KEYS = "tests/service/test_keys.py"
_UPKEEP = "tests/service/test_key_upkeep.py"

BUGS: tuple[Bug, ...] = (
    Bug(
        "signing with a withdrawn key until the next read",
        "tokens that every verifier refuses are handed out",
        [
            Change(
                "authsvc/service/keys.py",
                '        return "" if self._is_withdrawn(self._active_kid) else self._active_kid\n',
                "        return self._active_kid\n",
            )
        ],
        [_KEYS],
    ),
    Bug(
        "a key rotated in before caches know it",
        "verifiers refuse good tokens after a rotation",
        [
            Change(
                "authsvc/domain/signing_keys.py",
                "PUBLISHED_AHEAD = JWKS_MAX_AGE + REFRESH_SLACK\n",
                "PUBLISHED_AHEAD = JWKS_MAX_AGE\n",
            ),
            Change(
                "authsvc/domain/signing_keys.py",
                "    wait = published_for - chosen.published_for(now)\n",
                "    wait = published_for - (now - chosen.created_at)\n",
            ),
        ],
        [_LIFE],
    ),
    Bug(
        "a withdrawal without a successor",
        "one withdrawal ends all logins although a key was prepared",
        [
            Change(
                "authsvc/domain/signing_keys.py",
                "    follows = successor(keys) if found.state is KeyState.ACTIVE else None\n",
                "    follows = None\n",
            )
        ],
        [_LIFE],
    ),
    Bug(
        "a retired key unpublished at once",
        "good tokens of before the rotation are refused",
        [
            Change(
                "authsvc/domain/signing_keys.py",
                "now < self.retired_at + longest_lifetime + LEEWAY + FACT_MARGIN",
                "now < self.retired_at + FACT_MARGIN",
            )
        ],
        [_LIFE],
    ),
    Bug(
        "two replicas keep one schedule",
        "a rotation by two at once uses two keys up",
        [
            Change(
                "authsvc/storage/signing_keys.py",
                "    keys = _held(tx)\n    changed = lives.rotate_if_due(keys, now=tx.now, every=every, ",
                "    keys = _held(tx)\n    changed = lives.rotate_if_due(keys, now=tx.now, every=every and every * 0, ",
            )
        ],
        ["tests/storage/test_sqlite.py::TestSigningKeys::test_of_many_that_rotate_at_once_one_does"],
    ),
    Bug(
        "one damaged row blinds the directory",
        "no key can be read any more, and after a restart nothing is verified",
        [
            Change(
                "authsvc/service/keys.py",
                "            except ValueError:\n",
                "            except LookupError:\n",
            )
        ],
        [_KEYS],
    ),
    Bug(
        "a file that was taken away ends all logins",
        "a mistake in a directory stops every server",
        [
            Change(
                "authsvc/service/keys.py",
                "        if kid and before.signer(kid) is not None and material.signer(kid) is None:\n",
                "        if kid and before.signer(kid) is None and material.signer(kid) is None:\n",
            )
        ],
        [_UPKEEP],
    ),
)
