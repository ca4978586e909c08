"""The bare ES256 check: `cryptography` on a signature that is already decoded, over as many bytes as a token has."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256


def signature_checks(*, signed_bytes: int) -> list[Callable[[], None]]:
    """Return ready checks of good signatures of one key."""
    key, kind = generate_private_key(SECP256R1()), ECDSA(SHA256())
    check = key.public_key().verify
    messages = [bytes([number]) * signed_bytes for number in range(64)]
    return [partial(check, key.sign(message, kind), message, kind) for message in messages]


def main() -> None:
    """Print the CPU time of one check, in µs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=500)
    given = parser.parse_args()
    checks = signature_checks(signed_bytes=given.bytes)
    for check in checks:
        check()
    began = time.process_time()
    for check in islice(cycle(checks), given.checks):
        check()
    print(f"{(time.process_time() - began) / given.checks * 1e6:.3f}")


if __name__ == "__main__":
    main()
