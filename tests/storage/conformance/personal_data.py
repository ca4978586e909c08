"""Looking people up, phone numbers, imports, export, erasure, and bringing sealed texts under a new key."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from authsvc.domain.blind_index import BlindIndex, Digest
from authsvc.domain.errors import UserBlocked
from authsvc.domain.ids import encode_id
from authsvc.domain.keyring import KeyRing
from authsvc.domain.sessions import EndReason
from authsvc.domain.users import Block
from authsvc.ports import ByExternalId, ByIdentity, ByPhone, ByUnionid, ImportedUser
from authsvc.storage.schema import (
    audit,
    identities,
    merge_items,
    merges,
    phones,
    sessions,
    tombstones,
    unionids,
    user_aliases,
    users,
)
from tests.storage.conformance.world import APP, AUDITED, MINUTE, SIBLING, UNBOUND, World

OLD_RING = KeyRing(current_id=b"old1", keys={b"old1": b"o" * 32})
RING = KeyRing(current_id=b"new2", keys={b"new2": b"n" * 32, b"old1": b"o" * 32})
OLD, INDEX = BlindIndex(OLD_RING), BlindIndex(RING)
NUMBER = "13800138000"


def record(openid: str, *, unionid: str | None = None, external_id: str | None = None) -> ImportedUser:
    return ImportedUser(APP.app_id, APP.platform_group, openid, unionid, external_id)


def sibling(openid: str, *, unionid: str | None = None, external_id: str | None = None) -> ImportedUser:
    return ImportedUser(SIBLING.app_id, SIBLING.platform_group, openid, unionid, external_id)


async def bring_in(world: World, *records: ImportedUser) -> list[str]:
    fresh = [encode_id(world.entropy.token_bytes(16)) for _ in records]
    outcomes = await world.store.import_users(records, fresh_user_ids=fresh, index=INDEX, by="crm")
    return [outcome.value for outcome in outcomes]


async def bind(world: World, openid: str, number: str = NUMBER, *, index: BlindIndex = INDEX) -> bool:
    return await world.store.bind_phone(
        app_id=APP.app_id,
        openid=openid,
        sealed=b"sealed " + number.encode(),
        index=index.phone(number),
        by="me",
    )


class TestFinding:
    async def test_every_name_finds_the_person(self, world: World) -> None:
        """By identity, by unionid within its group, by external id; each returns the one user, or nobody."""
        login = await world.login("a", unionid="u")
        await world.store.set_external_id(login.user.user_id, "crm-1", by="op")
        found = [login.user.user_id]
        assert await world.store.find_users(ByIdentity(APP.app_id, "a")) == found
        assert await world.store.find_users(ByUnionid("group", "u")) == found
        assert await world.store.find_users(ByExternalId("crm-1")) == found
        assert await world.store.find_users(ByIdentity(SIBLING.app_id, "a")) == []
        assert await world.store.find_users(ByUnionid("other group", "u")) == []
        assert await world.store.find_users(ByExternalId("crm-2")) == []

    async def test_a_merged_id_names_the_survivor(self, world: World) -> None:
        """Whatever was the moved user's finds the survivor, the moved id included."""
        stays, goes = await world.login("a"), await world.login("b")
        await world.store.set_external_id(goes.user.user_id, "crm-2", by="op")
        await world.store.set_external_id(stays.user.user_id, "crm-1", by="op")
        await world.store.merge_users(stays.user.user_id, goes.user.user_id, by="op", reason="")
        found = [stays.user.user_id]
        assert await world.store.find_users(ByIdentity(APP.app_id, "b")) == found
        assert await world.store.find_users(ByExternalId("crm-2")) == found
        person = await world.store.get_person(goes.user.user_id)
        assert person is not None
        assert (person.user.user_id, person.user.previous_ids) == (stays.user.user_id, (goes.user.user_id,))
        assert {each.openid for each in person.identities} == {"a", "b"}
        identities_there = await world.store.find_identities(goes.user.user_id, app_id=APP.app_id)
        assert {each.openid for each in identities_there} == {"a", "b"}

    async def test_identities_carry_the_two_newest_keys(self, world: World) -> None:
        """Newest first; the identity that logged in last comes first."""
        login = await world.login("a", sealed=b"one")
        world.clock.advance(MINUTE)
        await world.login("a", sealed=b"two")
        [identity] = await world.store.find_identities(login.user.user_id, app_id=APP.app_id)
        assert [key.blob for key in identity.session_keys] == [b"two", b"one"]
        assert await world.store.find_identities(login.user.user_id, app_id=SIBLING.app_id) == []

    async def test_a_kept_key_is_ordered_by_its_exchange(self, world: World) -> None:
        """An older exchange that is stored late takes the second place, an even older one none."""
        login = await world.login("a", sealed=b"first")
        at = world.now
        for blob, age in ((b"newest", -1), (b"older", 5), (b"between", 0.5)):
            assert await world.store.keep_session_key(
                app_id=APP.app_id, openid="a", sealed=blob, exchanged_at=at - timedelta(seconds=age)
            )
        [identity] = await world.store.find_identities(login.user.user_id, app_id=APP.app_id)
        assert [key.blob for key in identity.session_keys] == [b"newest", b"first"]
        assert not await world.store.keep_session_key(
            app_id=APP.app_id, openid="nobody", sealed=b"x", exchanged_at=at
        )


class TestPhones:
    async def test_a_number_is_found_and_replaced(self, world: World) -> None:
        """One number an identity: a new one takes the place of the old one, which then finds nobody."""
        login = await world.login("a")
        assert await bind(world, "a", "111")
        assert await bind(world, "a", NUMBER)
        assert await world.store.find_users(ByPhone(INDEX.phone_everywhere("111"))) == []
        assert await world.store.find_users(ByPhone(INDEX.phone_everywhere(NUMBER))) == [login.user.user_id]
        person = await world.store.get_person(login.user.user_id)
        assert person is not None
        assert person.identities[0].sealed_phone == b"sealed " + NUMBER.encode()

    async def test_one_number_merges_nobody(self, world: World) -> None:
        """Two people may have one number; both are found, the newer one first."""
        one = await world.login("a")
        world.clock.advance(MINUTE)
        other = await world.login("b")
        assert await bind(world, "a")
        assert await bind(world, "b")
        found = await world.store.find_users(ByPhone(INDEX.phone_everywhere(NUMBER)))
        assert found == [other.user.user_id, one.user.user_id]

    async def test_an_older_index_still_finds(self, world: World) -> None:
        """A number bound before the key was rotated is found as long as the old key is in the ring."""
        login = await world.login("a")
        await bind(world, "a", index=OLD)
        assert await world.store.find_users(ByPhone(INDEX.phone_everywhere(NUMBER))) == [login.user.user_id]

    async def test_nobody_to_bind_to(self, world: World) -> None:
        """Without the identity nothing is kept."""
        assert not await bind(world, "nobody")
        assert world.backend.look(select(phones)) == []


class TestImports:
    async def test_a_record_makes_links_and_is_repeated(self, world: World) -> None:
        """A new person is made, their other app's record joins them, and a second run changes nothing."""
        records = (record("a", unionid="u", external_id="crm-1"), sibling("b", unionid="u"))
        assert await bring_in(world, *records) == ["created", "linked"]
        assert await bring_in(world, *records) == ["unchanged", "unchanged"]
        [user_id] = await world.store.find_users(ByExternalId("crm-1"))
        person = await world.store.get_person(user_id)
        assert person is not None
        assert {(each.app_id, each.openid) for each in person.identities} == {
            (APP.app_id, "a"),
            (SIBLING.app_id, "b"),
        }

    async def test_external_ids_join_too(self, world: World) -> None:
        """Records of one external id are one person, unionid or not."""
        assert await bring_in(world, record("a", external_id="crm-1"), sibling("b", external_id="crm-1")) == [
            "created",
            "linked",
        ]
        assert len(world.backend.look(select(users))) == 1

    async def test_a_login_meets_the_imported_user(self, world: World) -> None:
        """The person who then logs in is that user, not a new one, and their session key is kept."""
        await bring_in(world, record("a", unionid="u", external_id="crm-1"))
        login = await world.login("a", unionid="u", sealed=b"key")
        assert not login.written.value.is_new_user
        assert login.user.external_id == "crm-1"
        [identity] = await world.store.find_identities(login.user.user_id, app_id=APP.app_id)
        assert identity.session_keys[0].blob == b"key"

    async def test_an_import_completes_who_logged_in(self, world: World) -> None:
        """A known identity gets the unionid and the external id it lacked."""
        login = await world.login("a")
        assert await bring_in(world, record("a", unionid="u", external_id="crm-1")) == ["linked"]
        assert await world.store.find_users(ByUnionid("group", "u")) == [login.user.user_id]
        assert await world.store.find_users(ByExternalId("crm-1")) == [login.user.user_id]

    async def test_contradictions_change_nothing(self, world: World) -> None:
        """Somebody else's unionid or external id, or a second one of one's own: a conflict, and nothing is written."""
        await bring_in(
            world,
            record("a", unionid="u", external_id="crm-1"),
            record("b", unionid="v", external_id="crm-2"),
        )
        before = [world.backend.look(select(table)) for table in (users, identities, unionids, audit)]
        for contradiction in (
            record("a", unionid="v"),
            record("a", external_id="crm-2"),
            record("a", unionid="w"),
            record("a", external_id="crm-3"),
            sibling("c", unionid="u", external_id="crm-2"),
            sibling("c", unionid="u", external_id="crm-9"),
        ):
            assert await bring_in(world, contradiction) == ["conflict"], contradiction
        assert [world.backend.look(select(table)) for table in (users, identities, unionids, audit)] == before

    async def test_no_group_links_nobody_by_unionid(self, world: World) -> None:
        """In an app without a group a unionid is not kept."""
        lone = ImportedUser(UNBOUND.app_id, "", "a", "u")
        assert await bring_in(world, lone, replace(lone, openid="b")) == ["created", "created"]
        assert world.backend.look(select(unionids)) == []

    async def test_one_of_a_batch_does_not_spoil_the_rest(self, world: World) -> None:
        """Each record is judged by itself, also beside a conflict and a doubled line; 1,000 fit into one call."""
        await bring_in(world, record("a", external_id="crm-0"))
        many = [record(f"o{number}", external_id=f"crm-{number}") for number in range(998)]
        outcomes = await bring_in(world, *many, many[5], record("z", external_id="crm-7"))
        assert outcomes[0] == "linked"
        assert outcomes[1:998] == ["created"] * 997
        assert outcomes[998:] == ["unchanged", "linked"]


class TestErasure:
    async def erase(self, world: World, user_id: str, *, even_blocked: bool = True) -> int | None:
        written = await world.store.erase_user(user_id, index=INDEX, by="op", even_blocked=even_blocked)
        return written.value

    async def test_nothing_that_names_the_person_is_left(self, world: World) -> None:
        """Of a person with a merge behind them: no openid, unionid, phone, external id, device or undo row anywhere."""
        stays = await world.login("openid-a", unionid="unionid-u", device="device-d")
        goes = await world.login("openid-b")
        user_id = stays.user.user_id
        await bind(world, "openid-a")
        await world.store.set_external_id(user_id, "crm-1", by="op")
        await world.store.set_roles(user_id, ["vip"], by="op")
        await world.store.merge_users(user_id, goes.user.user_id, by="op", reason="")
        assert await self.erase(world, goes.user.user_id) == 1
        for table in (identities, unionids, phones, merges, merge_items, user_aliases):
            assert world.backend.look(select(table)) == [], table.name
        text = str(
            [tuple(row) for table in (users, sessions, audit) for row in world.backend.look(select(table))]
        )
        for personal in ("openid-a", "openid-b", "unionid-u", "crm-1", "device-d", "vip"):
            assert personal not in text.replace('["vip"]', "")
        for gone in (user_id, goes.user.user_id):
            assert await world.store.get_person(gone) is None
            assert await world.store.get_user(gone) is None
            assert await world.store.export_user(gone) is None
        assert await self.erase(world, user_id) is None

    async def test_every_session_is_over(self, world: World) -> None:
        """The access tokens die by a fact, the refresh tokens answer that the session was ended by an operator."""
        here = await world.login("a", unionid="u")
        there = await world.login("b", app=SIBLING, unionid="u")
        written = await world.store.erase_user(here.user.user_id, index=INDEX, by="op", even_blocked=True)
        assert written.value == 2
        assert [fact.target for fact in written.facts] == [here.user.user_id]
        for login in (here, there):
            assert (await world.refusal(login.token)).reason is EndReason.ADMIN

    async def test_a_login_afterwards_is_somebody_new(self, world: World) -> None:
        """The person may come back, as a user who has nothing to do with the one before."""
        before = await world.login("a", unionid="u")
        await self.erase(world, before.user.user_id)
        after = await world.login("a", unionid="u")
        assert after.written.value.is_new_user
        assert after.user.user_id != before.user.user_id

    async def test_a_file_does_not_bring_them_back(self, world: World) -> None:
        """An import skips the erased identity, and any other of the erased unionid; once they came back it goes on."""
        login = await world.login("a", unionid="u")
        await self.erase(world, login.user.user_id)
        records = (record("a"), sibling("b", unionid="u"))
        assert await bring_in(world, *records) == ["erased", "erased"]
        assert len(world.backend.look(select(tombstones))) == 2
        await world.login("a", unionid="u")
        assert await bring_in(world, *records) == ["unchanged", "linked"]

    async def test_a_file_does_not_bring_back_what_named_them(self, world: World) -> None:
        """
        Not their unionid, by an identity that was somebody else's for us; not their external id, by one we never saw.

        An identity that is there may be given the external id again: it is the other system's own.
        """
        login = await world.login("a", unionid="u")
        await world.store.set_external_id(login.user.user_id, "crm-1", by="op")
        other = await world.login("b", app=SIBLING)
        await self.erase(world, login.user.user_id)
        assert await bring_in(world, sibling("b", unionid="u")) == ["erased"]
        assert await bring_in(world, sibling("c", external_id="crm-1")) == ["erased"]
        assert world.backend.look(select(unionids)) == []
        assert await bring_in(world, sibling("b", external_id="crm-1")) == ["linked"]
        assert await bring_in(world, sibling("c", external_id="crm-1")) == ["linked"]
        assert (await world.store.find_users(ByExternalId("crm-1"))) == [other.user.user_id]

    async def test_tombstones_outlive_a_new_key(self, world: World) -> None:
        """Who was erased under the old key is known as long as that key is in the ring."""
        login = await world.login("a")
        await world.store.erase_user(login.user.user_id, index=OLD, by="op", even_blocked=True)
        assert await bring_in(world, record("a")) == ["erased"]

    async def test_a_blocked_user_cannot_slip_away(self, world: World) -> None:
        """Erasing oneself does not lift a block: refused, and nothing changes; an operator may erase all the same."""
        login = await world.login("a")
        block = Block(reason="fraud", by="op", at=world.now)
        await world.store.block_user(login.user.user_id, block=block)
        with pytest.raises(UserBlocked):
            await self.erase(world, login.user.user_id, even_blocked=False)
        person = await world.store.get_person(login.user.user_id)
        assert person is not None
        assert person.identities
        assert await self.erase(world, login.user.user_id) == 0

    async def test_whose_identity_went_elsewhere_stays(self, world: World) -> None:
        """An erasure by an identity is of the user who has it when their row is held, and of nobody else."""
        one, two = await world.login("a"), await world.login("b", app=SIBLING)
        await world.store.merge_users(one.user.user_id, two.user.user_id, by="op", reason="")
        identity = ByIdentity(SIBLING.app_id, "b")
        (found,) = await world.store.find_users(identity)
        await world.store.split_user(two.user.user_id, survivor_id="", by="op", reason="")

        async def erase(user_id: str) -> int | None:
            written = await world.store.erase_user(
                user_id, index=INDEX, by="b", even_blocked=False, identity=identity
            )
            return written.value

        assert found == one.user.user_id
        assert await erase(found) is None
        assert await world.store.get_person(found) is not None
        assert await erase(two.user.user_id) is not None
        assert await world.store.find_users(identity) == []

    async def test_unknown(self, world: World) -> None:
        """Nobody there: nothing is written."""
        assert await self.erase(world, "nobody") is None
        assert world.backend.look(AUDITED) == []

    async def test_the_export_tells_all(self, world: World) -> None:
        """Person, sessions of every former id, merges and the audit rows about them; no session key."""
        stays, goes = await world.login("a", sealed=b"SECRETKEY"), await world.login("b")
        await world.store.merge_users(stays.user.user_id, goes.user.user_id, by="op", reason="same person")
        export = await world.store.export_user(goes.user.user_id)
        assert export is not None
        assert export["person"].user.user_id == stays.user.user_id
        assert {each.session_id for each in export["sessions"]} == {stays.id, goes.id}
        assert [each["state"] for each in export["merges"]] == ["done"]
        assert "user.merged" in {each["event"] for each in export["audit"]}
        assert "SECRETKEY" not in repr(export)


class TestResealing:
    @staticmethod
    def blob(key_id: bytes, text: bytes) -> bytes:
        return b"\x01" + key_id + text

    def reseal(self, blob: bytes, app_id: str, openid: str) -> bytes | None:
        if b"broken" in blob:
            return None
        return self.blob(b"new2", blob[5:] + f"|{app_id}|{openid}".encode())

    async def test_a_pass_brings_every_key_under_the_current_one(self, world: World) -> None:
        """In batches, latest and previous, each with its own context; what is current or unopenable stays as it is."""
        for number in range(5):
            await world.login(f"o{number}", sealed=self.blob(b"old1", b"previous"))
            world.clock.advance(MINUTE)
            latest = self.blob(b"new2", b"fresh") if number == 3 else self.blob(b"old1", b"latest")
            await world.login(f"o{number}", sealed=self.blob(b"old1", b"broken") if number == 4 else latest)
        await bring_in(world, record("imported"))
        done = broken = calls = 0
        after: tuple[str, str] | None = ("", "")
        while after is not None:
            batch = await world.store.reseal_session_keys(self.reseal, key_id=b"new2", after=after, limit=2)
            done, broken, calls, after = (
                done + batch.resealed,
                broken + batch.unopenable,
                calls + 1,
                batch.after,
            )
        assert (done, broken, calls) == (8, 1, 4)
        again = await world.store.reseal_session_keys(self.reseal, key_id=b"new2", after=("", ""), limit=100)
        assert (again.resealed, again.unopenable, again.after) == (0, 1, None)
        [user_id] = await world.store.find_users(ByIdentity(APP.app_id, "o0"))
        [identity] = await world.store.find_identities(user_id, app_id=APP.app_id)
        assert [key.blob for key in identity.session_keys] == [
            self.blob(b"new2", b"latest|wxa|o0"),
            self.blob(b"new2", b"previous|wxa|o0"),
        ]

    async def test_numbers_get_a_new_index_too(self, world: World) -> None:
        """After the pass a number is found under the new key alone."""
        login = await world.login("a")
        await world.store.bind_phone(
            app_id=APP.app_id,
            openid="a",
            sealed=self.blob(b"old1", NUMBER.encode()),
            index=OLD.phone(NUMBER),
            by="me",
        )

        def reseal(blob: bytes, app_id: str, openid: str) -> tuple[bytes, Digest]:
            del app_id, openid
            return self.blob(b"new2", blob[5:]), INDEX.phone(blob[5:].decode())

        batch = await world.store.reseal_phones(reseal, key_id=b"new2", after=("", ""), limit=10)
        assert (batch.resealed, batch.unopenable, batch.after) == (1, 0, None)
        assert await world.store.find_users(ByPhone((INDEX.phone(NUMBER),))) == [login.user.user_id]
        assert (
            await world.store.reseal_phones(reseal, key_id=b"new2", after=("", ""), limit=10)
        ).resealed == 0
