"""What may be trusted, as pure functions over frozen values.

Nothing here opens a file, a socket or a clock, or draws random bytes (HPKE's own excepted): `now` (ms since 1970 UTC)
and `random(n)` come in as arguments. Bytes from outside are accepted, or raise `Rejected` with a `Reason`, and never
anything else. FORMAT.md beside this file tells the layout of every byte.
"""
