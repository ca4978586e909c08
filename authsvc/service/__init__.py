"""
The use cases: login, refresh, verify, revoke, look at sessions, watch the revocation log.

Each is orchestration over ports; the rules they apply are `domain`'s, the statuses of their refusals `status`'s.
Also here: the process's memory of the log (view, tail) and of the signing keys. Imports: ports and domain only.
"""
