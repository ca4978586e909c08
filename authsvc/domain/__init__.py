"""
The rules of the service as values and judgements: tokens, sessions, users, revocation facts, errors.

Nothing here awaits, reads a clock, draws randomness or logs: the present instant, keys and random bytes are
arguments. Persistence lives in `storage`, orchestration in `service`, statuses and public texts in `status`.
Imports: the standard library's value modules only.
"""
