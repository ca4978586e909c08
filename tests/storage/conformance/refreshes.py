"""What a presented refresh token does, and what it leaves in the row."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from authsvc.domain.apps import FACT_MARGIN, LEEWAY
from authsvc.domain.errors import AppDisabled, UnknownApp
from authsvc.domain.sessions import ClientInfo, Ended, EndReason
from authsvc.domain.users import Block
from authsvc.ports import RotationRefused, UserIsBlocked
from authsvc.storage.schema import sessions
from tests.storage.conformance.world import APP, APPS, DAY, HOUR, MINUTE, SECOND, World


class TestRefreshes:
    async def test_newest_token_rotates(self, world: World) -> None:
        """The successor's counter is one higher, its expiries count from now, and the row says the same."""
        login = await world.login()
        world.clock.advance(HOUR)
        rotation = await world.rotate(login.token, mac_key_id=b"mac2")
        assert not rotation.replayed
        assert (rotation.session.counter, rotation.session.mac_key_id) == (1, b"mac2")
        assert rotation.session.rotated_at == world.now
        assert rotation.session.access_expires_at == world.now + APP.access_lifetime
        assert rotation.session.refresh_expires_at == world.now + APP.idle_lifetime
        assert rotation.user == login.user
        assert await world.session(login) == rotation.session

    async def test_rotation_never_moves_the_absolute_end(self, world: World) -> None:
        """Refreshing for ever ends at the absolute end; the last tokens end with it."""
        login = await world.login()
        session = login.session
        while world.now + 6 * DAY < session.absolute_end:
            world.clock.advance(6 * DAY)
            session = (await world.rotate(login.at(session.counter))).session
        assert session.absolute_end == login.session.absolute_end == session.refresh_expires_at
        world.clock.advance(session.absolute_end - world.now)
        assert (await world.refusal(login.at(session.counter))).reason is EndReason.EXPIRED

    async def test_lost_reply_gets_the_same_successor(self, world: World) -> None:
        """Within the grace window the token before hands out the same successor, key and access expiry again."""
        login = await world.login()
        first = await world.rotate(login.token, jitter=0.5, mac_key_id=b"mac2")
        world.clock.advance(APP.grace)
        again = await world.rotate(login.token, jitter=0.9, mac_key_id=b"mac3", client=ClientInfo(ip="::1"))
        assert again.replayed
        assert again.session == first.session == await world.session(login)

    async def test_grace_counts_from_the_rotation(self, world: World) -> None:
        """A replay does not extend the window: later the session ends as refresh stale."""
        login = await world.login()
        await world.rotate(login.token)
        world.clock.advance(APP.grace)
        await world.rotate(login.token)
        world.clock.advance(SECOND)
        refused = await world.refusal(login.token)
        assert refused == RotationRefused(
            reason=EndReason.REFRESH_STALE, by_us=True, user_id=login.user.user_id, app_id=APP.app_id
        )
        ended = Ended(reason=EndReason.REFRESH_STALE, at=world.now, by="service")
        assert (await world.session(login)).ended == ended

    async def test_two_steps_behind_is_reuse(self, world: World) -> None:
        """A token older than the previous one ends the session at once, with a fact."""
        login = await world.login()
        await world.rotate(login.token)
        await world.rotate(login.at(1))
        written = await world.present(login.token)
        assert isinstance(written.value, RotationRefused)
        assert written.value.reason is EndReason.REFRESH_REUSE
        assert [(fact.target, fact.reason) for fact in written.facts] == [(login.id, EndReason.REFRESH_REUSE)]

    async def test_counter_above_ours_is_a_restored_store(self, world: World) -> None:
        """A counter we never issued, with our nonce, means the database was set back."""
        login = await world.login()
        assert (await world.refusal(login.at(1))).reason is EndReason.STORE_RESTORED
        assert await world.reason(login) is EndReason.STORE_RESTORED

    async def test_token_without_a_row_is_a_restored_store(self, world: World) -> None:
        """Nothing is written, and no session was ended by us."""
        _, token = world.opening()
        written = await world.present(token)
        assert written.value == RotationRefused(reason=EndReason.STORE_RESTORED)
        assert written.facts == ()

    async def test_foreign_nonce_leaves_the_session_untouched(self, world: World) -> None:
        """A MAC of ours with another nonce refreshes nothing, ends nothing, and learns nothing of the session."""
        login = await world.login()
        forged = replace(login.token, nonce=b"n" * 16)
        assert (await world.refusal(forged)).reason is None
        assert await world.session(login) == login.session
        await world.logout(login)
        assert (await world.refusal(forged)).reason is None

    async def test_idle_session_expires(self, world: World) -> None:
        """At its idle end, not before, the session is over as expired; its tokens are long dead, so no fact."""
        login = await world.login()
        world.clock.advance(APP.idle_lifetime - SECOND)
        await world.rotate(login.token)
        world.clock.advance(APP.idle_lifetime)
        written = await world.present(login.at(1))
        assert isinstance(written.value, RotationRefused)
        assert (written.value.reason, written.value.by_us) == (EndReason.EXPIRED, True)
        assert written.facts == ()

    async def test_first_reason_stands(self, world: World) -> None:
        """An ended session answers with its reason every time; only the call that ended it says so."""
        login = await world.login()
        await world.logout(login)
        for _ in range(2):
            refused = await world.refusal(login.token)
            assert (refused.reason, refused.by_us) == (EndReason.LOGOUT, False)

    async def test_ended_by_us_only_once(self, world: World) -> None:
        """The second presentation of a stale token finds the session over."""
        login = await world.login()
        await world.rotate(login.token)
        world.clock.advance(MINUTE)
        assert [(await world.refusal(login.token)).by_us for _ in range(2)] == [True, False]

    async def test_blocked_user_is_told_so_and_nothing_changes(self, world: World) -> None:
        """A blocked user's refresh is refused as blocked; when the block is lifted the session is still over."""
        login = await world.login()
        await world.store.block_user(login.user.user_id, block=Block(reason="", by="op", at=world.now))
        before = await world.session(login)
        assert (await world.present(login.token)).value == UserIsBlocked()
        assert await world.session(login) == before
        await world.store.unblock_user(login.user.user_id, by="op")
        assert (await world.refusal(login.token)).reason is EndReason.BLOCKED

    async def test_unknown_or_disabled_app_raises_and_changes_nothing(self, world: World) -> None:
        """An app that is gone or off is an error of its own, not an end."""
        login = await world.login()
        with pytest.raises(UnknownApp):
            await world.present(login.token, apps={})
        with pytest.raises(AppDisabled):
            await world.present(login.token, apps={APP.app_id: replace(APP, enabled=False)})
        assert await world.session(login) == login.session
        await world.rotate(login.token, apps=APPS)

    async def test_app_revocation_kills_the_refresh_token(self, world: World) -> None:
        """A session created before its app was revoked is refused, and its row then says who ended it and when."""
        login = await world.login()
        await world.kill_app()
        at = world.now
        world.clock.advance(MINUTE)
        written = await world.present(login.token)
        assert isinstance(written.value, RotationRefused)
        assert (written.value.reason, written.value.by_us) == (EndReason.ADMIN, True)
        assert written.facts == ()
        [row] = world.backend.look(select(sessions))
        assert (row.end_reason, row.ended_at, row.ended_by) == (EndReason.ADMIN, at, "operator")

    async def test_session_after_the_revocation_refreshes(self, world: World) -> None:
        """Positions decide: a login after the revocation of app and user is untouched by it."""
        await world.kill_user((await world.login()).user)
        await world.kill_app()
        login = await world.login()
        assert (await world.rotate(login.token)).session.counter == 1

    async def test_last_seen_client_is_kept(self, world: World) -> None:
        """A rotation records address and agent where given, and never the device."""
        login = await world.login(client=ClientInfo(ip="a", user_agent="b", device_id="c", device_name="d"))
        await world.rotate(login.token, client=ClientInfo(ip="x", device_id="y"))
        assert (await world.session(login)).client == ClientInfo(
            ip="x", user_agent="b", device_id="c", device_name="d"
        )

    async def test_fact_outlives_the_latest_token_handed_out(self, world: World) -> None:
        """Where a newer token ends before an older one, the fact is useful as long as the older one."""
        login = await world.login()
        short = {APP.app_id: replace(APP, access_lifetime=MINUTE)}
        rotation = await world.rotate(login.token, apps=short)
        assert rotation.session.access_expires_at == world.now + MINUTE
        [fact] = (await world.logout(login)).facts
        assert fact.useful_until == login.session.access_expires_at + FACT_MARGIN

    @pytest.mark.parametrize(("late", "facts"), [(-SECOND, 1), (timedelta(), 0)])
    async def test_fact_only_while_a_token_is_accepted(
        self, world: World, late: timedelta, facts: int
    ) -> None:
        """The last fact is written one tick before `exp` + leeway, none from there on."""
        login = await world.login()
        await world.rotate(login.token)
        session = (await world.rotate(login.at(1))).session
        world.clock.advance(session.access_expires_at + LEEWAY + late - world.now)
        written = await world.present(login.token)
        assert len(written.facts) == facts
        assert await world.reason(login) is EndReason.REFRESH_REUSE

    async def test_rotation_writes_no_fact(self, world: World) -> None:
        """Refreshing leaves the log where it was."""
        login = await world.login()
        before = await world.store.read_head()
        written = await world.present(login.token)
        assert written.facts == ()
        assert await world.store.read_head() == before
        assert written.head.position == before.position
