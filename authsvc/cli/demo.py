"""`authsvc demo`: the whole story once, on free ports, with readable output."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import click
import grpc
import grpc.aio

from authapi.v1 import AuthServiceAsyncStub, types_pb2
from authapi.v1 import auth_service_pb2 as pb
from authsvc.cli.dev import Development, sandbox_tables
from authsvc.cli.material import make_dev_secrets
from authsvc.cli.options import read_settings
from authsvc.cli.running import make_world, run
from authsvc.config.sections import Environment
from authsvc.sandbox import SANDBOX_APPS


class StoryBroken(click.ClickException):
    """The service did not do what the story says."""


@click.command("demo")
def command() -> None:
    """Start everything on free ports, play login, verify, refresh, logout, and check each step; exit 0."""
    settings = read_settings(
        {
            "env": Environment.DEV,
            "grpc_port": 0,
            "http_port": 0,
            "sandbox_port": 0,
            "ops_port": 0,
            "drain_wait": 0.0,
            "log_level": "error",
            "default_app": SANDBOX_APPS[0].app_id,
        }
    )

    async def main(stopping: asyncio.Event) -> None:
        del stopping
        world = make_world(settings, service="demo")
        with tempfile.TemporaryDirectory(prefix="authsvc-demo-") as folder:
            directory = Path(folder)
            development = Development(
                settings,
                directory=directory,
                secrets=make_dev_secrets(directory, entropy=world.entropy, now=world.clock.now()),
                world=world,
                tables=sandbox_tables,
            )
            addresses = await development.start()
            try:
                await _Story(addresses).play()
            finally:
                await development.stop()

    run(main)
    sys.exit(0)


class _Story:
    def __init__(self, addresses: dict[str, str]) -> None:
        self._addresses = addresses
        self._step = 0

    async def play(self) -> None:
        async with (
            aiohttp.ClientSession() as http,
            grpc.aio.insecure_channel(self._addresses["grpc"]) as channel,
        ):
            auth = AuthServiceAsyncStub(channel)
            self._say("The mini-program calls wx.login; the sandbox hands out a code")
            mint = {"app_id": SANDBOX_APPS[0].app_id, "user": "alice"}
            code = (await self._post(http, "sandbox", "/sandbox/v1/codes", mint))["code"]
            self._show("code", code)

            self._say("It posts the code to the edge and receives its tokens")
            body = {"app_id": SANDBOX_APPS[0].app_id, "code": code, "device_id": "demo-phone"}
            login = await self._post(http, "http", "/api/v1/login", body)
            self._show("user", login["user_id"])
            self._show("session", login["session_id"])
            self._show("access token", _short(login["access_token"]))
            self._show("refresh token", _short(login["refresh_token"]))

            self._say("An internal service verifies the access token by gRPC")
            active = await self._verify(auth, login["access_token"])
            self._expect(active.HasField("active"), "the token is active")
            self._expect(active.active.user_id == login["user_id"], "it names the same user")
            self._show("scopes", ", ".join(active.active.scopes))

            self._say("It asks for the phone number; the sandbox hands out the button's code")
            phone_code = (await self._post(http, "sandbox", "/sandbox/v1/phone-codes", mint))["code"]
            bearer = {"Authorization": f"Bearer {login['access_token']}"}
            phone = await self._post(http, "http", "/api/v1/phone", {"code": phone_code}, headers=bearer)
            self._show("phone number", phone["phone_number"])

            self._say("The same code once more: it works once")
            again = await self._post(http, "http", "/api/v1/login", body, expected=409)
            self._show("refused", again["error"]["reason"])

            self._say("The mini-program refreshes")
            refreshed = await self._post(
                http, "http", "/api/v1/refresh", {"refresh_token": login["refresh_token"]}
            )
            self._expect(refreshed["refresh_token"] != login["refresh_token"], "there is a new refresh token")

            self._say("Its answer was lost, so it refreshes with the old token again: the same successor")
            replayed = await self._post(
                http, "http", "/api/v1/refresh", {"refresh_token": login["refresh_token"]}
            )
            self._expect(
                replayed["refresh_token"] == refreshed["refresh_token"], "the same successor came back"
            )

            self._say("The user logs out")
            bearer = {"Authorization": f"Bearer {refreshed['access_token']}"}
            await self._post(http, "http", "/api/v1/logout", {}, headers=bearer)

            self._say("Every token of the session is dead at once")
            dead = await self._verify(auth, refreshed["access_token"])
            reason = types_pb2.InactiveReason.Name(dead.inactive.reason)
            self._expect(reason == "INACTIVE_REASON_SESSION_REVOKED", f"VerifyToken says {reason}")
            refused = await self._post(
                http, "http", "/api/v1/refresh", {"refresh_token": refreshed["refresh_token"]}, expected=401
            )
            self._show("refresh refused", f"{refused['error']['reason']} ({refused['error']['end_reason']})")
        click.echo("\nThat is the whole story. `make run` keeps the service running for you.")

    async def _verify(self, auth: AuthServiceAsyncStub, token: str) -> pb.VerifyTokenResponse:
        request = pb.VerifyTokenRequest(access_token=token, audience=SANDBOX_APPS[0].app_id)
        response: pb.VerifyTokenResponse = await auth.VerifyToken(request, timeout=10)
        return response

    async def _post(
        self,
        http: aiohttp.ClientSession,
        part: str,
        path: str,
        body: dict[str, Any],
        *,
        expected: int = 200,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        async with http.post(self._addresses[part] + path, json=body, headers=headers) as response:
            answer: dict[str, Any] = json.loads(await response.read())
            self._expect(response.status == expected, f"POST {path} answers {response.status}")
            return answer

    def _say(self, text: str) -> None:
        self._step += 1
        click.echo(f"\n{self._step}. {text}")

    def _show(self, name: str, value: str) -> None:
        click.echo(f"   {name}: {value}")

    def _expect(self, holds: bool, text: str) -> None:
        click.echo(f"   {'✓' if holds else '✗'} {text}")
        if not holds:
            raise StoryBroken(f"step {self._step} went wrong: {text}")


def _short(token: str) -> str:
    return f"{token[:24]}… ({len(token)} characters)"
