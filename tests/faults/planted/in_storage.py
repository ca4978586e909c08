"""Bugs in the record: durability, isolation, order. Those that need concurrent writers are tried on PostgreSQL."""

from tests.faults.planted.bug import Bug, Change

_POSTGRES = "tests/storage/test_postgres.py::"

BUGS: tuple[Bug, ...] = (
    Bug(
        "deferred BEGIN",
        "two processes on one file refuse each other's writes",
        [
            Change(
                "authsvc/storage/writer.py",
                '                self._connection.exec_driver_sql("BEGIN IMMEDIATE")\n            except',
                '                self._connection.exec_driver_sql("BEGIN")\n            except',
            )
        ],
        ["tests/storage/test_locking.py"],
    ),
    Bug(
        "acknowledge before commit (SQLite)",
        "a crash or a full disk loses what callers were told of",
        [
            Change(
                "authsvc/storage/writer.py",
                '            connection.exec_driver_sql("COMMIT")\n        except',
                "        except",
            ),
            Change(
                "authsvc/storage/writer.py",
                "                _deliver(batch, self._perform(batch))\n",
                "                _deliver(batch, self._perform(batch))\n"
                "                with contextlib.suppress(*DRIVER_ERRORS):\n"
                "                    if self._connection is not None:\n"
                '                        self._connection.exec_driver_sql("COMMIT")\n',
            ),
        ],
        ["tests/storage/test_faults.py::test_failing_commit_fails_everybody_in_the_batch"],
    ),
    Bug(
        "a COMMIT that nobody answered is taken for success",
        "a server that dies at the wrong moment loses what callers were told of",
        [
            Change(
                "authsvc/storage/postgres.py",
                "                self.pool.suspect()\n            raise unavailable(error) from None\n",
                "                self.pool.suspect()\n            return\n",
            ),
        ],
        ["tests/storage/postgres/test_outages.py", "-k", "lost_commit"],
    ),
    Bug(
        "a batch is acknowledged before its commit (PostgreSQL)",
        "a connection that breaks at COMMIT loses what a whole batch was told of",
        [
            Change(
                "authsvc/storage/postgres_batches.py",
                "        await self.commit(leased, any(job.tx is not None and job.tx.facts for job in kept))\n",
                "",
            ),
            Change(
                "authsvc/storage/postgres_batches.py",
                "            _answer(job, Written(job.value, tuple(job.tx.facts), cursor))\n",
                "            _answer(job, Written(job.value, tuple(job.tx.facts), cursor))\n"
                "        await self.commit(leased, any(job.tx is not None and job.tx.facts for job in kept))\n",
            ),
        ],
        ["tests/storage/postgres/test_lost_batches.py"],
    ),
    Bug(
        "a rolled-back COMMIT is taken for success",
        "a write is acknowledged that PostgreSQL took back",
        [
            Change(
                "authsvc/storage/postgres.py",
                "        if answer != _COMMIT:",
                "        if not answer:",
            )
        ],
        ["tests/storage/postgres/test_units.py::test_swallowed_failure_is_no_success"],
    ),
    Bug(
        "synchronous=NORMAL",
        "a power cut loses hundreds of acknowledged commits",
        [Change("authsvc/storage/engines.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL")],
        ["tests/storage/test_durability.py::test_settings_of_the_connections"],
    ),
    Bug(
        "synchronous_commit left off",
        "an operator's setting silently makes acknowledged writes volatile",
        [
            Change(
                "authsvc/storage/postgres.py",
                '        if setting == "off":',
                '        if setting == "never":',
            )
        ],
        ["tests/storage/postgres/test_units.py::test_durable_whatever_the_database_says"],
    ),
    Bug(
        "auto-increment tailing",
        "positions appear out of order, and a tail passes over revocations for ever",
        [
            Change(
                "authsvc/storage/postgres.py",
                "        row = self._connection.execute(_TAKE).one_or_none()\n"
                "        if row is None:\n"
                '            raise StoreUnavailable("the log has no head")\n'
                "        self._locked = True\n",
                "        number = self._connection.exec_driver_sql(\n"
                "            \"SELECT nextval('planted_positions')\"\n"
                "        ).scalar_one()\n"
                "        row = self._connection.exec_driver_sql(\n"
                '            f"SELECT incarnation, {number}::bigint AS position, compacted_through FROM log_head"\n'
                "        ).one()\n",
            ),
            Change(
                "authsvc/storage/tx.py",
                "        incarnation=row.incarnation, position=row.position, compacted_through",
                "        incarnation=row.incarnation,\n"
                '        position=connection.exec_driver_sql("SELECT COALESCE(MAX(position), 0) FROM revocations").scalar_one(),\n'
                "        compacted_through",
            ),
            Change(
                "authsvc/storage/postgres.py",
                "            await runner.write(ensure_head)\n",
                "            await runner.write(ensure_head)\n"
                "            await runner.write(\n"
                "                lambda tx: tx.connection.exec_driver_sql(\n"
                '                    "CREATE SEQUENCE IF NOT EXISTS planted_positions"\n'
                "                ).close()\n"
                "            )\n",
            ),
        ],
        ["tests/storage/postgres/test_waits.py", "-k", "everything_below_it"],
    ),
    Bug(
        "position read before the user's row is held",
        "a login that waited for an end of all sessions is dead from the start",
        [
            Change(
                "authsvc/storage/logins.py",
                "    return _open(tx, opening, identify(tx, opening))\n",
                "    _ = tx.ledger.head\n    return _open(tx, opening, identify(tx, opening))\n",
            )
        ],
        ["tests/storage/postgres/test_waits.py", "-k", "login_that_waited"],
    ),
    Bug(
        "session cap outside the locks",
        "users who log in at once have more live sessions than their cap",
        [
            Change(
                "authsvc/storage/logins.py",
                "    return _open(tx, opening, identify(tx, opening))\n",
                "    early = tx.connection.execute(\n"
                "        SESSIONS.where(\n"
                "            sessions.c.openid == opening.openid,\n"
                "            sessions.c.app_id == opening.app.app_id,\n"
                "            REFRESHABLE,\n"
                "        ).order_by(sessions.c.created_at, sessions.c.session_id),\n"
                '        {"now": tx.now},\n'
                "    ).all()\n"
                "    return _open(tx, opening, identify(tx, opening), early)\n",
            ),
            Change(
                "authsvc/storage/logins.py",
                "def _open(tx: Tx, opening: Opening, known: Known) ->",
                "def _open(tx: Tx, opening: Opening, known: Known, early: Any = ()) ->",
            ),
            Change(
                "authsvc/storage/logins.py",
                "    replaced = _replaced(tx, opening, user_id=user.user_id)\n",
                "    replaced = _replaced(tx, opening, live=early)\n",
            ),
            Change(
                "authsvc/storage/logins.py",
                "def _replaced(tx: Tx, opening: Opening, *, user_id: str) ->",
                "def _replaced(tx: Tx, opening: Opening, *, live: list[Row[Any]]) ->",
            ),
            Change(
                "authsvc/storage/logins.py",
                "    live = tx.connection.execute(\n"
                '        _LIVE, {"user_id": user_id, "app_id": opening.app.app_id, "now": tx.now}\n'
                "    ).all()\n",
                "",
            ),
        ],
        [_POSTGRES + "TestRaces::test_parallel_logins_keep_the_cap"],
    ),
    Bug(
        "the user's row is not held",
        "a login beside an end of all sessions, or a block, does not see it",
        [
            Change(
                "authsvc/storage/aliases.py",
                "    .with_for_update()\n",
                "",
            )
        ],
        ["tests/storage/postgres/test_waits.py", "-k", "login_that_waited"],
    ),
    Bug(
        "rotation without a condition",
        "parallel refreshes rotate more than once",
        [
            Change(
                "authsvc/storage/refreshes.py",
                '    sessions.c.counter == bindparam("this_counter"),\n',
                '    sessions.c.counter <= bindparam("this_counter") + 99,\n',
            )
        ],
        [_POSTGRES + "TestRaces::test_parallel_refreshes_rotate_once"],
    ),
    Bug(
        "a session ends twice",
        "the first reason does not stand, and endings are counted twice",
        [
            Change(
                "authsvc/storage/endings.py",
                '    .where(sessions.c.session_id == bindparam("this_session"), sessions.c.ended_at.is_(None))\n',
                '    .where(sessions.c.session_id == bindparam("this_session"))\n',
            )
        ],
        ["tests/storage/postgres/test_waits.py", "-k", "ending_that_waited"],
    ),
    Bug(
        "a fact only for an unexpired newest token",
        "an earlier token that is still accepted outlives the logout",
        [
            Change(
                "authsvc/storage/refreshes.py",
                "    latest = max(row.latest_access_expiry, successor.access_expires_at)\n",
                "    latest = successor.access_expires_at\n",
            )
        ],
        ["tests/storage/test_sqlite.py::TestRefreshes::test_fact_outlives_the_latest_token_handed_out"],
    ),
)
