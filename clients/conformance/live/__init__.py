"""
The live part of the conformance suite: a real service, one small program per language, and the time from a revocation
to its refusal by each language's own verifier. `python -m clients.conformance.live --help` says what can be chosen.
"""
