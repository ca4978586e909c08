"""The bare ES256 check: `cryptography` on a signature that is already decoded, over as many bytes as a token has."""

import argparse
import time

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256


def main() -> None:
    """Print the CPU time of one check, in µs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=500)
    given = parser.parse_args()
    key, kind = generate_private_key(SECP256R1()), ECDSA(SHA256())
    signed = [bytes([number]) * given.bytes for number in range(64)]
    signatures = [key.sign(message, kind) for message in signed]
    check = key.public_key().verify
    for number in range(64):
        check(signatures[number], signed[number], kind)
    began = time.process_time()
    for number in range(given.checks):
        check(signatures[number % 64], signed[number % 64], kind)
    print(f"{(time.process_time() - began) / given.checks * 1e6:.3f}")


if __name__ == "__main__":
    main()
