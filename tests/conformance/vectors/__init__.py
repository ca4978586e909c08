"""
Makes the conformance vectors: cases are described here, verdicts come from the server's own code.

`python -m tests.conformance.vectors` writes `clients/conformance/*.json`; the format is that folder's README. Nothing
here depends on the machine, the day or chance: keys are derived from fixed seeds, signatures are deterministic, and
the clock is a number. May import the server; nothing of a client library.
"""
