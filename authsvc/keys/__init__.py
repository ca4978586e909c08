"""
Key material: the master ring (symmetric, from the environment) and the signing keys (asymmetric, from a directory or
the environment).

Owns how secrets are read, checked and turned into operations. Which signing key is active, and what is published,
is SQL's and the use cases' business; JWKS documents are built elsewhere from the public records. Nothing here
reaches a `repr`, a log or an exception text except key ids and file names.
May import: ports, domain, cryptography.
"""

from authsvc.keys.algorithms import public_jwk, thumbprint, verification_key
from authsvc.keys.directory import DirectoryKeys, write_new
from authsvc.keys.pem import KeyProblem, generate_signing_key
from authsvc.keys.ring import MasterRing

__all__ = [
    "DirectoryKeys",
    "KeyProblem",
    "MasterRing",
    "generate_signing_key",
    "public_jwk",
    "thumbprint",
    "verification_key",
    "write_new",
]
