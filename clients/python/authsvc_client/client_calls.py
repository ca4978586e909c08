"""The calls of the contract, one by one, for asyncio. What each does and every reason it can fail with: `authapi.v1`."""

# ruff: noqa: ASYNC109 - a call's deadline goes to the server with it

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from authapi import v1 as pb
from authsvc_client.connection import Stubs


class ContractCalls(ABC):
    """The methods of AuthClient; VerifyToken is its own matter."""

    @property
    @abstractmethod
    def _stubs(self) -> Stubs: ...

    @abstractmethod
    async def _call(self, method: Callable[..., Any], request: Any, within: timedelta | None) -> Any: ...

    async def login(self, request: pb.LoginRequest, *, timeout: timedelta | None = None) -> pb.LoginResponse:
        """Exchange a login code for a session. Never retried: a code reaches WeChat at most once."""
        response: pb.LoginResponse = await self._call(self._stubs.auth.Login, request, timeout)
        return response

    async def refresh(
        self, request: pb.RefreshTokenRequest, *, timeout: timedelta | None = None
    ) -> pb.RefreshTokenResponse:
        """Rotate a refresh token. Retried: within its grace window the same successor comes again."""
        response: pb.RefreshTokenResponse = await self._call(self._stubs.auth.RefreshToken, request, timeout)
        return response

    async def batch_verify_tokens(
        self, request: pb.BatchVerifyTokensRequest, *, timeout: timedelta | None = None
    ) -> pb.BatchVerifyTokensResponse:
        """Judge up to 1,000 access tokens; all are answered or none."""
        response: pb.BatchVerifyTokensResponse = await self._call(
            self._stubs.auth.BatchVerifyTokens, request, timeout
        )
        return response

    async def revoke(
        self, request: pb.RevokeRequest, *, timeout: timedelta | None = None
    ) -> pb.RevokeResponse:
        """End a session, every session of a user, or every session of an app; durable when it returns."""
        response: pb.RevokeResponse = await self._call(self._stubs.auth.Revoke, request, timeout)
        return response

    async def get_session(
        self, request: pb.GetSessionRequest, *, timeout: timedelta | None = None
    ) -> pb.GetSessionResponse:
        """Return a session, by the user's token or its id."""
        response: pb.GetSessionResponse = await self._call(self._stubs.sessions.GetSession, request, timeout)
        return response

    async def list_sessions(
        self, request: pb.ListSessionsRequest, *, timeout: timedelta | None = None
    ) -> pb.ListSessionsResponse:
        """Return a page of a user's sessions."""
        response: pb.ListSessionsResponse = await self._call(
            self._stubs.sessions.ListSessions, request, timeout
        )
        return response

    async def get_jwks(
        self, request: pb.GetJwksRequest, *, timeout: timedelta | None = None
    ) -> pb.GetJwksResponse:
        """Return the public keys and the rules for verifying."""
        response: pb.GetJwksResponse = await self._call(self._stubs.keys.GetJwks, request, timeout)
        return response

    async def decrypt_user_data(
        self, request: pb.DecryptUserDataRequest, *, timeout: timedelta | None = None
    ) -> pb.DecryptUserDataResponse:
        """Decrypt what the mini-program received from WeChat for this user."""
        response: pb.DecryptUserDataResponse = await self._call(
            self._stubs.wechat.DecryptUserData, request, timeout
        )
        return response

    async def check_user_data_signature(
        self, request: pb.CheckUserDataSignatureRequest, *, timeout: timedelta | None = None
    ) -> pb.CheckUserDataSignatureResponse:
        """Check the signature of raw user data."""
        response: pb.CheckUserDataSignatureResponse = await self._call(
            self._stubs.wechat.CheckUserDataSignature, request, timeout
        )
        return response

    async def get_phone_number(
        self, request: pb.GetPhoneNumberRequest, *, timeout: timedelta | None = None
    ) -> pb.GetPhoneNumberResponse:
        """Exchange the code of a getPhoneNumber button. Never retried: the code works once."""
        response: pb.GetPhoneNumberResponse = await self._call(
            self._stubs.wechat.GetPhoneNumber, request, timeout
        )
        return response

    async def check_session_key(
        self, request: pb.CheckSessionKeyRequest, *, timeout: timedelta | None = None
    ) -> pb.CheckSessionKeyResponse:
        """Ask WeChat whether the stored session_key is still good."""
        response: pb.CheckSessionKeyResponse = await self._call(
            self._stubs.wechat.CheckSessionKey, request, timeout
        )
        return response

    async def reset_session_key(
        self, request: pb.ResetSessionKeyRequest, *, timeout: timedelta | None = None
    ) -> pb.ResetSessionKeyResponse:
        """Have WeChat replace the session_key. Never retried."""
        response: pb.ResetSessionKeyResponse = await self._call(
            self._stubs.wechat.ResetSessionKey, request, timeout
        )
        return response

    async def get_user(
        self, request: pb.GetUserRequest, *, timeout: timedelta | None = None
    ) -> pb.GetUserResponse:
        """Return a user."""
        response: pb.GetUserResponse = await self._call(self._stubs.users.GetUser, request, timeout)
        return response

    async def find_user(
        self, request: pb.FindUserRequest, *, timeout: timedelta | None = None
    ) -> pb.FindUserResponse:
        """Return the user behind an identity, unionid or external id."""
        response: pb.FindUserResponse = await self._call(self._stubs.users.FindUser, request, timeout)
        return response

    async def block_user(
        self, request: pb.BlockUserRequest, *, timeout: timedelta | None = None
    ) -> pb.BlockUserResponse:
        """Block a user and end all sessions."""
        response: pb.BlockUserResponse = await self._call(self._stubs.users.BlockUser, request, timeout)
        return response

    async def unblock_user(
        self, request: pb.UnblockUserRequest, *, timeout: timedelta | None = None
    ) -> pb.UnblockUserResponse:
        """Lift a block."""
        response: pb.UnblockUserResponse = await self._call(self._stubs.users.UnblockUser, request, timeout)
        return response

    async def set_user_roles(
        self, request: pb.SetUserRolesRequest, *, timeout: timedelta | None = None
    ) -> pb.SetUserRolesResponse:
        """Replace a user's roles."""
        response: pb.SetUserRolesResponse = await self._call(self._stubs.users.SetUserRoles, request, timeout)
        return response

    async def set_external_id(
        self, request: pb.SetExternalIdRequest, *, timeout: timedelta | None = None
    ) -> pb.SetExternalIdResponse:
        """Set the id that another system gave a user."""
        response: pb.SetExternalIdResponse = await self._call(
            self._stubs.users.SetExternalId, request, timeout
        )
        return response

    async def merge_users(
        self, request: pb.MergeUsersRequest, *, timeout: timedelta | None = None
    ) -> pb.MergeUsersResponse:
        """Make two users one."""
        response: pb.MergeUsersResponse = await self._call(self._stubs.users.MergeUsers, request, timeout)
        return response

    async def split_user(
        self, request: pb.SplitUserRequest, *, timeout: timedelta | None = None
    ) -> pb.SplitUserResponse:
        """Undo a merge."""
        response: pb.SplitUserResponse = await self._call(self._stubs.users.SplitUser, request, timeout)
        return response

    async def list_pending_merges(
        self, request: pb.ListPendingMergesRequest, *, timeout: timedelta | None = None
    ) -> pb.ListPendingMergesResponse:
        """Return a page of merges that wait for an operator."""
        response: pb.ListPendingMergesResponse = await self._call(
            self._stubs.users.ListPendingMerges, request, timeout
        )
        return response

    async def import_users(
        self, request: pb.ImportUsersRequest, *, timeout: timedelta | None = None
    ) -> pb.ImportUsersResponse:
        """Create users from another system."""
        response: pb.ImportUsersResponse = await self._call(self._stubs.users.ImportUsers, request, timeout)
        return response

    async def export_user(
        self, request: pb.ExportUserRequest, *, timeout: timedelta | None = None
    ) -> pb.ExportUserResponse:
        """Return everything that is stored of a user."""
        response: pb.ExportUserResponse = await self._call(self._stubs.users.ExportUser, request, timeout)
        return response

    async def erase_user(
        self, request: pb.EraseUserRequest, *, timeout: timedelta | None = None
    ) -> pb.EraseUserResponse:
        """Erase a user. Never retried."""
        response: pb.EraseUserResponse = await self._call(self._stubs.users.EraseUser, request, timeout)
        return response
