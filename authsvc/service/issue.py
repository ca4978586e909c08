"""The single mint: the token pair of a session, new or rotated."""

from dataclasses import dataclass, field
from datetime import datetime

from authsvc.domain import access_token, refresh_token
from authsvc.domain.access_token import Claims
from authsvc.domain.apps import App
from authsvc.domain.ids import ID_BYTES, encode_id
from authsvc.domain.refresh_token import RefreshToken
from authsvc.domain.sessions import Session
from authsvc.domain.users import User
from authsvc.ports import Clock, Entropy, Rings
from authsvc.service.keys import KeyDirectory


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client keeps. The texts never appear in `repr`."""

    access_token: str = field(repr=False)
    access_expires_at: datetime
    refresh_token: str = field(repr=False)
    refresh_expires_at: datetime
    server_time: datetime


class TokenIssuer:
    """Signs access tokens and spells refresh tokens."""

    def __init__(
        self, *, keys: KeyDirectory, rings: Rings, clock: Clock, entropy: Entropy, issuer: str
    ) -> None:
        self._keys = keys
        self._rings = rings
        self._clock = clock
        self._entropy = entropy
        self._issuer = issuer

    async def issue(self, session: Session, *, user: User, app: App, line: RefreshToken) -> TokenPair:
        """
        Return the pair that stands for *session* as stored; *line* is any refresh token of its line.

        The refresh token is a pure function of the row and the line, so a replay gets the same text again; the
        access token ends when the row says.

        Raises:
            StoreUnavailable: this replica does not hold the active signing key.

        """
        now = self._clock.now()
        expires_at = int(session.access_expires_at.timestamp())
        # The row's expiry was counted on the store's clock, which may be a little ahead of ours: a lifetime above the
        # app's would be refused by every verifier, while an `iat` ahead by less than the leeway is not.
        issued_at = max(int(now.timestamp()), expires_at - int(app.access_lifetime.total_seconds()))
        claims = Claims(
            issuer=self._issuer,
            user_id=user.user_id,
            audiences=app.audiences,
            app_id=app.app_id,
            expires_at=expires_at,
            issued_at=issued_at,
            not_before=issued_at,
            token_id=encode_id(self._entropy.token_bytes(ID_BYTES)),
            session_id=session.session_id,
            position=session.position,
            scopes=app.scopes,
            roles=user.roles,
            openid=session.openid if app.openid_in_token else None,
            external_id=user.external_id,
            previous_user_ids=user.previous_ids,
        )
        signer = await self._keys.active_signer()
        header = access_token.header_segment(kid=signer.header.kid, alg=signer.header.alg)
        signing_input = access_token.signing_input(claims, header=header)
        signature = await signer.sign(signing_input)
        return TokenPair(
            access_token=access_token.join(signing_input, signature),
            access_expires_at=session.access_expires_at,
            refresh_token=refresh_token.spell(
                line.successor(counter=session.counter, key_id=session.mac_key_id),
                ring=self._rings.refresh_mac,
            ),
            refresh_expires_at=session.refresh_expires_at,
            server_time=now,
        )
