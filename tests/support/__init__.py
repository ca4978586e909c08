"""Builders that several suites share: the core over real parts, a server around it, and forged tokens."""
