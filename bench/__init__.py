"""
`make bench`: what a call costs, as ratios and added CPU measured side by side in one run.

Bare servers of the same engines and the real service run in processes of their own, pinned to one core; the load
comes from another. Rounds alternate between all rows, so that a drift of the machine hits all alike; what is compared
is the CPU time of the server process, which other work on the machine hardly touches. Absolute figures of two runs
are not comparable. Nothing here is imported by the service. How to read the table: docs/performance.md.
"""
