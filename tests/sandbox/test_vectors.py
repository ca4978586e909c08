"""
The sandbox reproduces WeChat's published examples, and does not start where it would not.
"""

import base64
from collections.abc import Callable

import pytest

from authsvc.sandbox import SandboxServer, SelfCheckFailed, World, crypto
from authsvc.sandbox.vectors import self_check
from tests.fakes import FakeClock, SeededEntropy

# The published text itself (facts/wechat-api.md section 4.2): the self-check holds only its hash.
PUBLISHED = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+3hVbJSRgv+"
    "4lGOETKUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lm"
    "HInNlxuacJXwu0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK"
    "4PC7E/r7Z6xNrXd2UIeorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNH"
    "R1Vf7XjfhQlVsAJdNiKdYmYVoKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyux"
    "INew=="
)
PLAIN = (
    '{"openId":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou",'
    '"province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/aSKcBBPpibyKNicHNTMM0qJVh8Kj'
    'giak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ibKicsnfN5pRjl1p8HQ/0","unionId":"ocMvos6NjeKLIBqg5Mr9QjxrP1FA",'
    '"watermark":{"timestamp":1477314187,"appid":"wx4f4bc4dec97d474b"}}'
)
RAW = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN",'
    '"avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpu'
    'jxyzYsrztuuICqIM5ibXQ/0"}'
)


def test_encrypts_the_published_example_byte_for_byte() -> None:
    """
    Section 4.2: key, iv and text give the published encryptedData.
    """
    iv = base64.b64decode("r7BXXKkLb8qrSNn05n0qiA==")
    assert crypto.encrypt(PLAIN.encode(), session_key="tiihtNczf5v6AKRyjwEUhQ==", iv=iv) == PUBLISHED


def test_signs_the_published_examples() -> None:
    """
    Sections 3.7 and 4.3: the key's text is the key, not what it decodes to.
    """
    assert (
        crypto.sign_login_state("o0q0otL8aEzpcZL/FT9WsQ==", b'{"foo":"bar"}')
        == "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"
    )
    signature = crypto.sign_raw_data(RAW, session_key="HyVFkGl5F5OQWJZZaNzBBg==")
    assert signature == "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


def test_the_self_check_passes() -> None:
    """
    On a machine whose cryptography is right there is nothing to complain of.
    """
    self_check()


def _upper(sign: Callable[..., str]) -> Callable[..., str]:
    return lambda *given, **named: sign(*given, **named).upper()


WRONG = {
    "sign_login_state": (_upper(crypto.sign_login_state), "login-state signature"),
    "sign_raw_data": (_upper(crypto.sign_raw_data), "rawData signature"),
    "pad": (lambda plain: plain + bytes(-len(plain) % 16), "encrypted user data"),
}


@pytest.mark.parametrize("part", WRONG)
async def test_a_sandbox_that_is_wrong_does_not_start(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """
    With any of its parts off, start fails, names the example, and nothing listens.
    """
    wrong, named = WRONG[part]
    monkeypatch.setattr(crypto, part, wrong)
    entropy = SeededEntropy()
    server = SandboxServer(world=World(entropy=entropy), clock=FakeClock(), entropy=entropy)
    with pytest.raises(SelfCheckFailed, match=named):
        await server.start()
    assert server.port == 0
    await server.stop()
