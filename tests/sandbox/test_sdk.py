"""
A WeChat SDK that was not written here works against the sandbox, unchanged but for where it connects.

wechatpy knows the official host by heart, so its own HTTP session is told to take requests for that host elsewhere.
"""

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from requests.adapters import HTTPAdapter
from wechatpy import WeChatClient
from wechatpy.crypto import WeChatWxaCrypto
from wechatpy.exceptions import InvalidAppIdException, WeChatClientException

from authsvc.cli.sandbox_fixture import SandboxThread, wechat_sandbox
from authsvc.sandbox import BadFault

__all__ = ["wechat_sandbox"]

PHONE = "https://api.weixin.qq.com/wxa/business/getuserphonenumber"
CHECK = "https://api.weixin.qq.com/wxa/checksession"


class Elsewhere(HTTPAdapter):
    """
    Requests go to another scheme and host.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base = urlsplit(base_url)

    def send(self, request: Any, *given: Any, **named: Any) -> Any:
        request.url = urlunsplit(
            urlsplit(request.url)._replace(scheme=self._base.scheme, netloc=self._base.netloc)
        )
        return super().send(request, *given, **named)


@pytest.fixture
def sdk(wechat_sandbox: SandboxThread) -> Any:
    app = wechat_sandbox.app
    client = WeChatClient(app.app_id, app.secret)
    client._http.mount("https://api.weixin.qq.com/", Elsewhere(wechat_sandbox.base_url))
    yield client
    client._http.close()


def test_logs_in_gets_a_token_and_a_phone_number(sdk: Any, wechat_sandbox: SandboxThread) -> None:
    """
    The three things a mini-program's server needs, each asked for exactly once.
    """
    session = sdk.wxa.code_to_session(wechat_sandbox.mint("alice"))
    assert session["openid"] == wechat_sandbox.openid_of("alice")
    assert len(session["session_key"]) == 24
    assert len(sdk.access_token) >= 136
    phone_code = wechat_sandbox.mint_phone("alice")
    answer = sdk.post(PHONE, data={"code": phone_code, "openid": session["openid"]})
    assert answer["phone_info"]["purePhoneNumber"] == wechat_sandbox.phone_of("alice")
    assert [arrival.target.partition("?")[0] for arrival in wechat_sandbox.requests()] == [
        "/cgi-bin/token",
        "/sns/jscode2session",
        "/wxa/business/getuserphonenumber",
    ]


def test_understands_refusals(sdk: Any, wechat_sandbox: SandboxThread) -> None:
    """
    A used code, an unknown one, a quoted errcode and a throttled call arrive as the SDK's own errors.
    """
    code = wechat_sandbox.mint()
    sdk.wxa.code_to_session(code)
    for sent, errcode in [
        (code, 40163),
        ("nosuch", 40029),
        (wechat_sandbox.mint(fault="quoted-errcode;40226"), 40226),
        (wechat_sandbox.mint(fault="minute-quota"), 45011),
    ]:
        with pytest.raises(WeChatClientException) as refused:
            sdk.wxa.code_to_session(sent)
        assert refused.value.errcode == errcode


def test_recovers_from_a_revoked_token(sdk: Any, wechat_sandbox: SandboxThread) -> None:
    """
    On 40001 the SDK fetches another token and repeats the call.
    """
    old = sdk.access_token
    assert wechat_sandbox.revoke_tokens() == 1
    code = wechat_sandbox.mint_phone()
    assert sdk.post(PHONE, data={"code": code})["errcode"] == 0
    assert sdk.access_token != old
    assert [arrival.outcome for arrival in wechat_sandbox.requests(code=code)] == ["errcode 40001", "ok"]


def test_decrypts_what_the_sandbox_encrypts(sdk: Any, wechat_sandbox: SandboxThread) -> None:
    """
    User data and phone number under the key of the login; another app's watermark is refused.
    """
    key, app_id = (
        sdk.wxa.code_to_session(wechat_sandbox.mint("安娜"))["session_key"],
        wechat_sandbox.app.app_id,
    )
    data = wechat_sandbox.user_data("安娜")
    opened = WeChatWxaCrypto(key, data.iv, app_id).decrypt_message(data.encrypted_data)
    assert (opened["openId"], opened["nickName"]) == (wechat_sandbox.openid_of("安娜"), "安娜")
    data = wechat_sandbox.user_data("安娜", kind="phone")
    opened = WeChatWxaCrypto(key, data.iv, app_id).decrypt_message(data.encrypted_data)
    assert opened["purePhoneNumber"] == wechat_sandbox.phone_of("安娜")
    data = wechat_sandbox.user_data("安娜", variant="wrong-app")
    with pytest.raises(InvalidAppIdException):
        WeChatWxaCrypto(key, data.iv, app_id).decrypt_message(data.encrypted_data)


def test_faults_reach_it(sdk: Any, wechat_sandbox: SandboxThread) -> None:
    """
    A rule for one path fails that path only, as often as it says; a misspelt one is an error of the test's.
    """
    sdk.fetch_access_token()
    wechat_sandbox.fail("http;503", path="/sns/jscode2session", times=1)
    with pytest.raises(WeChatClientException):
        sdk.wxa.code_to_session(wechat_sandbox.mint())
    assert "openid" in sdk.wxa.code_to_session(wechat_sandbox.mint())
    wechat_sandbox.fail("system-error")
    wechat_sandbox.heal()
    assert "openid" in sdk.wxa.code_to_session(wechat_sandbox.mint())
    with pytest.raises(BadFault):
        wechat_sandbox.fail("nosuch")


def test_a_reset_secret_is_noticed(sdk: Any, wechat_sandbox: SandboxThread) -> None:
    """
    The old secret is 40125 and the sandbox's app shows the new one.
    """
    wechat_sandbox.change_secret("5a4d0000next")
    with pytest.raises(WeChatClientException) as refused:
        sdk.fetch_access_token()
    assert refused.value.errcode == 40125
    sdk.secret = wechat_sandbox.app.secret
    assert sdk.fetch_access_token()["expires_in"] == 7200
    assert "5a4d0000next" not in json.dumps([arrival.target for arrival in wechat_sandbox.requests()])
