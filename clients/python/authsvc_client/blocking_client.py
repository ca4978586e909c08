"""The contract's calls for threads: AuthClient without an event loop."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc

from authapi import v1 as pb
from authsvc_client._clock import Clock, SystemClock
from authsvc_client.blocking_coalescing import BlockingCoalescer
from authsvc_client.connection import MetadataSource, Stubs, blocking_channel, metadata_of
from authsvc_client.errors import LibraryError, failure_of

_VERIFY_WITHIN = timedelta(seconds=10)


class SyncAuthClient:
    """
    See AuthClient; safe to use from many threads. Make it after a fork, never before.

    ```python
    with SyncAuthClient("authsvc:50051") as client:
        response = client.revoke(RevokeRequest(session_id=session_id))
    ```
    """

    def __init__(
        self,
        target: str | grpc.Channel,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: MetadataSource = (),
        batches: int = 4,
        clock: Clock | None = None,
    ) -> None:
        if batches < 1:
            raise ValueError("batches must be positive")
        channel = blocking_channel(target, credentials) if isinstance(target, str) else target
        self._own_channel = channel if isinstance(target, str) else None
        self._is_closed = False
        self._metadata = metadata
        self._stubs = Stubs(channel)
        self._checks = BlockingCoalescer(
            one=self._verify_one, many=self._begin_many, clock=clock or SystemClock(), most_calls=batches
        )

    def close(self) -> None:
        """End all calls; who waits for one gets LibraryError CANCELLED. Idempotent, and final."""
        self._is_closed = True
        if self._own_channel is not None:
            self._own_channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def verify_token(
        self,
        access_token: str,
        *,
        audience: str = "",
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        at_least: pb.Cursor | None = None,
        timeout: timedelta = _VERIFY_WITHIN,
    ) -> pb.VerifyTokenResponse:
        """
        See AuthClient.verify_token; checks of concurrent threads share calls.

        Raises:
            CallFailed: it could not be decided.

        """
        request = pb.VerifyTokenRequest(access_token=access_token, audience=audience)
        if scopes:
            request.required_scopes.extend(scopes)
        if roles:
            request.required_roles.extend(roles)
        timeout_s = timeout.total_seconds()
        if at_least is not None:
            request.at_least.CopyFrom(at_least)
            return self._verify_one(request, timeout_s)
        return self._checks.ask(request, timeout_s=timeout_s)

    def login(self, request: pb.LoginRequest, *, timeout: timedelta | None = None) -> pb.LoginResponse:
        """Exchange a login code for a session. Never retried: a code reaches WeChat at most once."""
        response: pb.LoginResponse = self._call(self._stubs.auth.Login, request, timeout)
        return response

    def refresh(
        self, request: pb.RefreshTokenRequest, *, timeout: timedelta | None = None
    ) -> pb.RefreshTokenResponse:
        """Rotate a refresh token. Retried: within its grace window the same successor comes again."""
        response: pb.RefreshTokenResponse = self._call(self._stubs.auth.RefreshToken, request, timeout)
        return response

    def batch_verify_tokens(
        self, request: pb.BatchVerifyTokensRequest, *, timeout: timedelta | None = None
    ) -> pb.BatchVerifyTokensResponse:
        """Judge up to 1,000 access tokens; all are answered or none."""
        response: pb.BatchVerifyTokensResponse = self._call(
            self._stubs.auth.BatchVerifyTokens, request, timeout
        )
        return response

    def revoke(self, request: pb.RevokeRequest, *, timeout: timedelta | None = None) -> pb.RevokeResponse:
        """End a session, every session of a user, or every session of an app; durable when it returns."""
        response: pb.RevokeResponse = self._call(self._stubs.auth.Revoke, request, timeout)
        return response

    def get_session(
        self, request: pb.GetSessionRequest, *, timeout: timedelta | None = None
    ) -> pb.GetSessionResponse:
        """Return a session, by the user's token or its id."""
        response: pb.GetSessionResponse = self._call(self._stubs.sessions.GetSession, request, timeout)
        return response

    def list_sessions(
        self, request: pb.ListSessionsRequest, *, timeout: timedelta | None = None
    ) -> pb.ListSessionsResponse:
        """Return a page of a user's sessions."""
        response: pb.ListSessionsResponse = self._call(self._stubs.sessions.ListSessions, request, timeout)
        return response

    def get_jwks(self, request: pb.GetJwksRequest, *, timeout: timedelta | None = None) -> pb.GetJwksResponse:
        """Return the public keys and the rules for verifying."""
        response: pb.GetJwksResponse = self._call(self._stubs.keys.GetJwks, request, timeout)
        return response

    def decrypt_user_data(
        self, request: pb.DecryptUserDataRequest, *, timeout: timedelta | None = None
    ) -> pb.DecryptUserDataResponse:
        """Decrypt what the mini-program received from WeChat for this user."""
        response: pb.DecryptUserDataResponse = self._call(
            self._stubs.wechat.DecryptUserData, request, timeout
        )
        return response

    def check_user_data_signature(
        self, request: pb.CheckUserDataSignatureRequest, *, timeout: timedelta | None = None
    ) -> pb.CheckUserDataSignatureResponse:
        """Check the signature of raw user data."""
        response: pb.CheckUserDataSignatureResponse = self._call(
            self._stubs.wechat.CheckUserDataSignature, request, timeout
        )
        return response

    def get_phone_number(
        self, request: pb.GetPhoneNumberRequest, *, timeout: timedelta | None = None
    ) -> pb.GetPhoneNumberResponse:
        """Exchange the code of a getPhoneNumber button. Never retried: the code works once."""
        response: pb.GetPhoneNumberResponse = self._call(self._stubs.wechat.GetPhoneNumber, request, timeout)
        return response

    def check_session_key(
        self, request: pb.CheckSessionKeyRequest, *, timeout: timedelta | None = None
    ) -> pb.CheckSessionKeyResponse:
        """Ask WeChat whether the stored session_key is still good."""
        response: pb.CheckSessionKeyResponse = self._call(
            self._stubs.wechat.CheckSessionKey, request, timeout
        )
        return response

    def reset_session_key(
        self, request: pb.ResetSessionKeyRequest, *, timeout: timedelta | None = None
    ) -> pb.ResetSessionKeyResponse:
        """Have WeChat replace the session_key. Never retried."""
        response: pb.ResetSessionKeyResponse = self._call(
            self._stubs.wechat.ResetSessionKey, request, timeout
        )
        return response

    def get_user(self, request: pb.GetUserRequest, *, timeout: timedelta | None = None) -> pb.GetUserResponse:
        """Return a user."""
        response: pb.GetUserResponse = self._call(self._stubs.users.GetUser, request, timeout)
        return response

    def find_user(
        self, request: pb.FindUserRequest, *, timeout: timedelta | None = None
    ) -> pb.FindUserResponse:
        """Return the user behind an identity, unionid or external id."""
        response: pb.FindUserResponse = self._call(self._stubs.users.FindUser, request, timeout)
        return response

    def block_user(
        self, request: pb.BlockUserRequest, *, timeout: timedelta | None = None
    ) -> pb.BlockUserResponse:
        """Block a user and end all sessions."""
        response: pb.BlockUserResponse = self._call(self._stubs.users.BlockUser, request, timeout)
        return response

    def unblock_user(
        self, request: pb.UnblockUserRequest, *, timeout: timedelta | None = None
    ) -> pb.UnblockUserResponse:
        """Lift a block."""
        response: pb.UnblockUserResponse = self._call(self._stubs.users.UnblockUser, request, timeout)
        return response

    def set_user_roles(
        self, request: pb.SetUserRolesRequest, *, timeout: timedelta | None = None
    ) -> pb.SetUserRolesResponse:
        """Replace a user's roles."""
        response: pb.SetUserRolesResponse = self._call(self._stubs.users.SetUserRoles, request, timeout)
        return response

    def set_external_id(
        self, request: pb.SetExternalIdRequest, *, timeout: timedelta | None = None
    ) -> pb.SetExternalIdResponse:
        """Set the id that another system gave a user."""
        response: pb.SetExternalIdResponse = self._call(self._stubs.users.SetExternalId, request, timeout)
        return response

    def merge_users(
        self, request: pb.MergeUsersRequest, *, timeout: timedelta | None = None
    ) -> pb.MergeUsersResponse:
        """Make two users one."""
        response: pb.MergeUsersResponse = self._call(self._stubs.users.MergeUsers, request, timeout)
        return response

    def split_user(
        self, request: pb.SplitUserRequest, *, timeout: timedelta | None = None
    ) -> pb.SplitUserResponse:
        """Undo a merge."""
        response: pb.SplitUserResponse = self._call(self._stubs.users.SplitUser, request, timeout)
        return response

    def list_pending_merges(
        self, request: pb.ListPendingMergesRequest, *, timeout: timedelta | None = None
    ) -> pb.ListPendingMergesResponse:
        """Return a page of merges that wait for an operator."""
        response: pb.ListPendingMergesResponse = self._call(
            self._stubs.users.ListPendingMerges, request, timeout
        )
        return response

    def import_users(
        self, request: pb.ImportUsersRequest, *, timeout: timedelta | None = None
    ) -> pb.ImportUsersResponse:
        """Create users from another system."""
        response: pb.ImportUsersResponse = self._call(self._stubs.users.ImportUsers, request, timeout)
        return response

    def export_user(
        self, request: pb.ExportUserRequest, *, timeout: timedelta | None = None
    ) -> pb.ExportUserResponse:
        """Return everything that is stored of a user."""
        response: pb.ExportUserResponse = self._call(self._stubs.users.ExportUser, request, timeout)
        return response

    def erase_user(
        self, request: pb.EraseUserRequest, *, timeout: timedelta | None = None
    ) -> pb.EraseUserResponse:
        """Erase a user. Never retried."""
        response: pb.EraseUserResponse = self._call(self._stubs.users.EraseUser, request, timeout)
        return response

    def _verify_one(self, request: pb.VerifyTokenRequest, timeout_s: float) -> pb.VerifyTokenResponse:
        response: pb.VerifyTokenResponse = self._send(self._stubs.auth.VerifyToken, request, timeout_s)
        return response

    def _begin_many(self, request: pb.BatchVerifyTokensRequest, timeout_s: float) -> Any:
        return self._stubs.auth.BatchVerifyTokens.future(
            request, timeout=timeout_s, metadata=metadata_of(self._metadata)
        )

    def _call(self, method: Callable[..., Any], request: Any, within: timedelta | None) -> Any:
        return self._send(method, request, None if within is None else within.total_seconds())

    def _send(self, method: Callable[..., Any], request: Any, timeout_s: float | None) -> Any:
        try:
            return method(request, timeout=timeout_s, metadata=metadata_of(self._metadata))
        except grpc.RpcError as error:
            raise failure_of(error) from None
        except ValueError:
            if self._is_closed:  # what gRPC says of a closed channel
                raise LibraryError(grpc.StatusCode.CANCELLED) from None
            raise
