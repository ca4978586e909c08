"""Bugs above the record: refresh tokens, login codes, writes and their callers, verifiers, the wire."""

from tests.faults.planted.bug import Bug, Change

BUGS: tuple[Bug, ...] = (
    # -- refresh tokens -----------------------------------------------------------------------------------------------
    Bug(
        "wide grace",
        "a stolen token works long after it was replaced",
        [
            Change(
                "authsvc/domain/sessions.py",
                "now - session.rotated_at <= grace",
                "now - session.rotated_at <= 2 * grace",
            )
        ],
        ["tests/domain/test_sessions.py"],
    ),
    Bug(
        "grace extended by replays",
        "whoever repeats an old token often enough keeps it alive",
        [
            Change(
                "authsvc/storage/refreshes.py",
                "            return Rotation(session=session, user=user, replayed=True)\n",
                "            tx.connection.execute(\n"
                "                update(sessions)\n"
                "                .where(sessions.c.session_id == session.session_id)\n"
                "                .values(rotated_at=tx.now)\n"
                "            )\n"
                "            return Rotation(session=session, user=user, replayed=True)\n",
            )
        ],
        ["tests/storage/test_sqlite.py::TestRefreshes::test_grace_counts_from_the_rotation"],
    ),
    Bug(
        "reuse check off by one",
        "a token two behind is taken for a lost reply",
        [Change("authsvc/domain/sessions.py", "    if behind > 1:\n", "    if behind > 2:\n")],
        ["tests/domain/test_sessions.py"],
    ),
    Bug(
        "a second successor for a replay",
        "two live tips: thief and owner both go on",
        [
            Change(
                "authsvc/domain/sessions.py",
                "return Replay() if now - session.rotated_at",
                "return Rotate() if now - session.rotated_at",
            )
        ],
        ["tests/storage/test_sqlite.py::TestRefreshes::test_lost_reply_gets_the_same_successor"],
    ),
    Bug(
        "MAC not compared",
        "forged refresh tokens reach the database",
        [
            Change(
                "authsvc/domain/refresh_token.py",
                "    if key is None or not hmac.compare_digest(mac, hmac.digest(key, body, hashlib.sha256)):\n",
                "    if key is None or len(mac) != _MAC_BYTES:\n",
            )
        ],
        ["tests/domain/test_refresh_token.py"],
    ),
    # -- login codes --------------------------------------------------------------------------------------------------
    Bug(
        "retry of a spent code",
        "one code reaches WeChat twice",
        [
            Change(
                "authsvc/service/code_exchange.py",
                "        except WeChatUnavailable:\n",
                "        except (WeChatUnavailable, LoginCodeSpent):\n",
            ),
            Change(
                "authsvc/service/code_exchange.py",
                "import LoginCodeUsed, StoreUnavailable,",
                "import LoginCodeSpent, LoginCodeUsed, StoreUnavailable,",
            ),
        ],
        ["tests/service/test_login.py::test_what_wechat_does_is_told_and_the_code_stays_claimed"],
    ),
    Bug(
        "exchange before the claim",
        "a replica sends a code that another one has sent",
        [
            Change(
                "authsvc/service/code_exchange.py",
                "        if not await self._store.claim_code(app_id=app.app_id, code_hash=code_hash, ttl=CLAIM_TTL):\n"
                '            raise LoginCodeUsed("claimed before")\n        try:\n',
                "        try:\n",
            ),
            Change(
                "authsvc/service/code_exchange.py",
                "            return await self._wechat.code_to_session(app_id=app.app_id, code=code)\n",
                "            answer = await self._wechat.code_to_session(app_id=app.app_id, code=code)\n"
                "            if not await self._store.claim_code(\n"
                "                app_id=app.app_id, code_hash=code_hash, ttl=CLAIM_TTL\n            ):\n"
                '                raise LoginCodeUsed("claimed before")\n'
                "            return answer\n",
            ),
        ],
        ["tests/service/test_login.py::test_a_claim_of_another_replica_stands"],
    ),
    Bug(
        "a code that was sent is called unavailable",
        "callers repeat a code that is gone",
        [
            Change(
                "authsvc/service/login.py",
                '            raise LoginCodeSpent("exchanged, and not stored") from error\n',
                "            raise error\n",
            )
        ],
        ["tests/service/test_login.py::test_a_store_that_fails_after_the_exchange_spent_the_code"],
    ),
    # -- writes and their callers -------------------------------------------------------------------------------------
    Bug(
        "no shield",
        "a caller's deadline cuts a commit from what must follow it",
        [
            Change(
                "authsvc/service/waiting.py",
                "        return await asyncio.shield(self.start(work))\n",
                "        return await self.start(work)\n",
            )
        ],
        ["tests/service/test_waiting.py::test_a_cancelled_caller_does_not_cut_the_work"],
    ),
    Bug(
        "a false OK",
        "a revocation that was not stored is acknowledged",
        [
            Change(
                "authsvc/service/revoke.py",
                "        return await self._unbroken.run(self._revoke(target, reason=reason, by=by, within=within))\n",
                "        try:\n"
                "            return await self._unbroken.run(self._revoke(target, reason=reason, by=by, within=within))\n"
                "        except StoreUnavailable:\n"
                "            known = self._tail.view.known\n"
                "            assert known is not None\n"
                "            return RevokeResult(0, known)\n",
            ),
            Change(
                "authsvc/service/revoke.py",
                "from authsvc.domain.errors import CallerForbidden, NotFound, UnknownApp\n",
                "from authsvc.domain.errors import CallerForbidden, NotFound, StoreUnavailable, UnknownApp\n",
            ),
        ],
        ["tests/service/test_revoke.py::test_a_store_that_is_down_is_never_a_false_ok"],
    ),
    # -- what verifiers know ------------------------------------------------------------------------------------------
    Bug(
        "fail open",
        "who is cut off from the log goes on accepting",
        [Change("authsvc/service/verify.py", "        self._tail.require_fresh()\n", "")],
        ["tests/service/test_verify.py::test_stale_knowledge_is_never_a_verdict"],
    ),
    Bug(
        "an own revocation is not applied",
        "the process that revoked goes on accepting",
        [Change("authsvc/service/tail.py", "            self.view.apply(written.facts)\n", "")],
        ["tests/service/test_tail.py::test_own_writes_are_known_before_the_answer"],
    ),
    Bug(
        "at_least does not wait",
        "a caller that revoked is told active by another replica",
        [
            Change(
                "authsvc/service/verify.py",
                "            await self._tail.reach(at_least)\n"
                "        believed = await self._believed(token, arrived_at=arrived_at)\n",
                "            pass\n        believed = await self._believed(token, arrived_at=arrived_at)\n",
            )
        ],
        ["tests/service/test_verify.py::test_at_least_holds_for_a_cached_token"],
    ),
    Bug(
        "age counted from the answer",
        "knowledge is called fresher than it is",
        [
            Change(
                "authsvc/service/tail.py",
                "        self.view.confirmed_at = asked_at\n",
                "        self.view.confirmed_at = self._clock.elapsed()\n",
            )
        ],
        ["tests/service/test_tail.py::test_age_counts_from_before_the_read"],
    ),
    Bug(
        "a restored database is not noticed",
        "a verifier waits for positions that come again, and misses what they say",
        [
            Change(
                "authsvc/service/tail.py",
                "        if head.incarnation != known.incarnation or head.position < known.position:\n"
                "            return True\n",
                "        if head.incarnation == known.incarnation:\n            return False\n",
            )
        ],
        ["tests/service/test_tail.py::test_a_restored_database_begins_a_new_incarnation"],
    ),
    Bug(
        "cache keyed by signature",
        "a forged payload with a stolen signature is accepted",
        [
            Change(
                "authsvc/service/verify.py",
                '        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()\n',
                '        digest = hashlib.sha256(token.rpartition(".")[2].encode("utf-8", "surrogatepass")).digest()\n',
            )
        ],
        ["tests/service/test_verify.py::test_a_stolen_signature_never_hits"],
    ),
    Bug(
        "the cache remembers the verdict",
        "a token that was seen once never dies",
        [
            Change(
                "authsvc/service/verify.py",
                "        death = self._view.death_of(claims)\n",
                "        death = None if token.wire else self._view.death_of(claims)\n        token.wire = b'seen'\n",
            )
        ],
        ["tests/service/test_verify.py::test_a_cached_token_dies_with_what_it_hangs_on"],
    ),
    Bug(
        "expiry with the wrong sign",
        "tokens are accepted after their end and refused before it",
        [
            Change(
                "authsvc/domain/access_token.py",
                "    if now_s >= claims.expires_at + leeway_s:\n",
                "    if now_s >= claims.expires_at - leeway_s:\n",
            )
        ],
        ["tests/domain/test_access_token_judge.py"],
    ),
    Bug(
        "a user's revocation kills what came after it",
        "nobody who was logged out everywhere can log in again",
        [
            Change(
                "authsvc/service/view.py",
                "                if user is not None and claims.position < user.position:\n",
                "                if user is not None and claims.position <= user.position:\n",
            )
        ],
        ["tests/service/test_view.py"],
    ),
    # -- the wire -----------------------------------------------------------------------------------------------------
    Bug(
        "the text of an exception reaches the caller",
        "secrets and internals leave the service",
        [
            Change(
                "authsvc/rpc/wrapper.py",
                "        code, text, details = encode_status(failure)\n",
                "        code, text, details = encode_status(failure)\n        text = str(failure) or text\n",
            )
        ],
        ["tests/rpc/test_wrapper.py::test_nothing_of_an_unexpected_exception_leaves"],
    ),
    Bug(
        "a deadline makes a login repeatable",
        "a code that may have been sent is called unavailable",
        [
            Change(
                "authsvc/rpc/wrapper.py",
                '    raise policy.cut_off("deadline cap")\n',
                '    raise StoreUnavailable("deadline cap")\n',
            ),
            Change(
                "authsvc/rpc/wrapper.py",
                "CallerUnauthenticated, InvalidField, RateLimited\n",
                "CallerUnauthenticated, InvalidField, RateLimited, StoreUnavailable\n",
            ),
        ],
        ["tests/rpc/test_wrapper.py::test_the_deadline_cap"],
    ),
    # -- acting for a user, and other apps ----------------------------------------------------------------------------
    Bug(
        "a token of any audience names the subject",
        "a service that holds another service's token acts for its user at WeChat",
        [
            Change(
                "authsvc/service/subjects.py",
                "Demand(subject.audiences, apps=subject.apps)",
                "Demand(self._apps.audiences, apps=subject.apps)",
            )
        ],
        ["tests/service/test_subjects.py::test_a_token_is_judged_for_its_caller"],
    ),
    Bug(
        "whichever identity comes first",
        "of a merged user the wrong WeChat account is asked about",
        [
            Change(
                "authsvc/service/subjects.py",
                "[one for one in identities if openid in (None, one.openid)]",
                "identities",
            )
        ],
        ["tests/service/test_subjects.py::test_of_two_identities_in_one_app_the_tokens_own_is_meant"],
    ),
    Bug(
        "other apps by halves",
        "an app that was added logs nobody in, one that changed keeps its old secret",
        [
            Change(
                "authsvc/app/server.py",
                "            self._wechat.reconfigure({app.id: app.wechat() for app in apps})\n",
                "            pass\n",
            )
        ],
        ["tests/e2e/test_reload.py::test_a_plain_server_takes_other_apps_without_a_restart"],
    ),
)
