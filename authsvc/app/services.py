"""The use cases behind the contract, wired to each other and to their adapters."""

from dataclasses import dataclass

from authsvc.app.world import Secrets, World
from authsvc.domain.apps import AppRegistry
from authsvc.domain.blind_index import BlindIndex
from authsvc.ports import Store, WeChat
from authsvc.rpc import (
    auth_service,
    key_service,
    revocation_service,
    session_service,
    user_service,
    wechat_service,
)
from authsvc.rpc.convert import Cursors
from authsvc.rpc.verdicts import VerdictEncoder
from authsvc.rpc.wrapper import Service
from authsvc.service.audit_refusals import Refusals
from authsvc.service.code_exchange import CodeExchange
from authsvc.service.issue import TokenIssuer
from authsvc.service.keys import KeyDirectory
from authsvc.service.legacy import LegacyTokens
from authsvc.service.legacy_login import LegacyLogins
from authsvc.service.limits import Limiter
from authsvc.service.login import Logins
from authsvc.service.people import People
from authsvc.service.personal_data import PersonalData
from authsvc.service.phone import Phones
from authsvc.service.refresh import Refreshes
from authsvc.service.revoke import Revocations
from authsvc.service.session_keys import SessionKeys
from authsvc.service.sessions import Sessions
from authsvc.service.subjects import Subjects
from authsvc.service.tail import LogTail
from authsvc.service.user_data import UserDataKeys
from authsvc.service.verify import TokenVerifier
from authsvc.service.waiting import Unbroken
from authsvc.service.watch import Watches
from authsvc.wechat import decrypt_user_data


@dataclass(frozen=True, slots=True)
class Parts:
    """What the use cases of one server share."""

    world: World
    secrets: Secrets
    apps: AppRegistry
    issuer: str
    store: Store
    wechat: WeChat
    keys: KeyDirectory
    tail: LogTail
    verifier: TokenVerifier
    legacy: LegacyTokens
    watches: Watches
    unbroken: Unbroken
    limiter: Limiter
    refusals: Refusals


def build_services(parts: Parts) -> dict[str, Service]:
    """Return the contract's services by name."""
    clock, entropy, observer = parts.world.clock, parts.world.entropy, parts.world.telemetry
    apps, store, keys, tail, unbroken = parts.apps, parts.store, parts.keys, parts.tail, parts.unbroken
    rings = parts.secrets.master.rings()
    sealer = parts.secrets.master.sealer(entropy)
    index = BlindIndex(rings.blind_index)
    cursors = Cursors(rings.cursor)
    issuer = TokenIssuer(keys=keys, rings=rings, clock=clock, entropy=entropy, issuer=parts.issuer)
    subjects = Subjects(apps=apps, people=store, sessions=store, verifier=parts.verifier, sealer=sealer)
    phones = Phones(
        subjects=subjects,
        people=store,
        trail=store,
        wechat=parts.wechat,
        sealer=sealer,
        index=index,
        observer=observer,
        unbroken=unbroken,
    )
    logins = Logins(
        apps=apps,
        store=store,
        wechat=parts.wechat,
        phones=phones,
        sealer=sealer,
        rings=rings,
        keys=keys,
        issuer=issuer,
        tail=tail,
        clock=clock,
        entropy=entropy,
        observer=observer,
        unbroken=unbroken,
        limiter=parts.limiter,
        refusals=parts.refusals,
    )
    auth = auth_service.AuthServicer(
        logins=logins,
        legacy_logins=LegacyLogins(
            apps=apps,
            tokens=parts.legacy,
            logins=logins,
            observer=observer,
            unbroken=unbroken,
            limiter=parts.limiter,
        ),
        refreshes=Refreshes(
            apps=apps,
            store=store,
            rings=rings,
            keys=keys,
            issuer=issuer,
            tail=tail,
            entropy=entropy,
            observer=observer,
            unbroken=unbroken,
            limiter=parts.limiter,
            refusals=parts.refusals,
        ),
        verifier=parts.verifier,
        revocations=Revocations(
            apps=apps,
            store=store,
            rings=rings,
            verifier=parts.verifier,
            tail=tail,
            clock=clock,
            observer=observer,
            unbroken=unbroken,
            legacy=parts.legacy,
            refusals=parts.refusals,
        ),
        verdicts=VerdictEncoder(tail=tail, cursors=cursors),
        cursors=cursors,
        clock=clock,
        limiter=parts.limiter,
    )
    sessions = session_service.SessionServicer(
        sessions=Sessions(store=store, verifier=parts.verifier, tail=tail),
        cursors=cursors,
        page_ring=rings.cursor,
        clock=clock,
    )
    jwks = key_service.KeyServicer(keys=keys, view=tail.view, issuer=parts.issuer, apps=apps)
    revocations = revocation_service.RevocationServicer(
        watches=parts.watches, cursors=cursors, limiter=parts.limiter
    )
    wechat = wechat_service.WeChatServicer(
        user_data=UserDataKeys(subjects=subjects, trail=store, decrypt=decrypt_user_data, clock=clock),
        phones=phones,
        session_keys=SessionKeys(
            subjects=subjects,
            people=store,
            wechat=parts.wechat,
            sealer=sealer,
            clock=clock,
            observer=observer,
            unbroken=unbroken,
        ),
    )
    people = People(
        store=store,
        tail=tail,
        sealer=sealer,
        index=index,
        clock=clock,
        observer=observer,
        unbroken=unbroken,
    )
    users = user_service.UserServicer(
        people=people,
        personal_data=PersonalData(
            apps=apps,
            store=store,
            people=people,
            codes=CodeExchange(store=store, wechat=parts.wechat, observer=observer, limiter=parts.limiter),
            index=index,
            tail=tail,
            entropy=entropy,
            observer=observer,
            unbroken=unbroken,
        ),
        cursors=cursors,
        page_ring=rings.cursor,
        clock=clock,
    )
    return {
        auth_service.NAME: auth.methods(),
        session_service.NAME: sessions.methods(),
        key_service.NAME: jwks.methods(),
        revocation_service.NAME: revocations.methods(),
        wechat_service.NAME: wechat.methods(),
        user_service.NAME: users.methods(),
    }
