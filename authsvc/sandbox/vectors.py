"""
WeChat's own published examples, and the check that the sandbox reproduces them.

The values are those of facts/wechat-api.md sections 3.7, 4.2 and 4.3. A sandbox whose cryptography is
wrong would teach its users wrong; it refuses to start.
"""

import base64
import hashlib
from typing import Final

from authsvc.sandbox import crypto


class SelfCheckFailed(RuntimeError):
    """
    The sandbox does not reproduce an official example; the text says which.
    """


SIGNED_KEY: Final = "o0q0otL8aEzpcZL/FT9WsQ=="
SIGNED_BODY: Final = b'{"foo":"bar"}'
BODY_SIGNATURE: Final = "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b"

DATA_KEY: Final = "tiihtNczf5v6AKRyjwEUhQ=="
DATA_IV: Final = "r7BXXKkLb8qrSNn05n0qiA=="
PLAIN_DATA: Final = (
    b'{"openId":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","nickName":"Band","gender":1,"language":"zh_CN",'
    b'"city":"Guangzhou","province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/'
    b"aSKcBBPpibyKNicHNTMM0qJVh8Kjgiak2AHWr8MHM4WgMEm7GFhsf8OYrySdbvAMvTsw3mo8ibKicsnfN5pRjl1p8HQ/0"
    b'","unionId":"ocMvos6NjeKLIBqg5Mr9QjxrP1FA","watermark":{"timestamp":1477314187,'
    b'"appid":"wx4f4bc4dec97d474b"}}'
)
PLAIN_SHA256: Final = "3237d8a5dbd413523c194882c7156544d8a06e2afcc97383cc300c17bd09391b"
SEALED_SHA256: Final = "37d51d3f56b5f78d5d02b7962f669c58dfed703f138aa60a2c3b2a1597ad6c00"

RAW_KEY: Final = "HyVFkGl5F5OQWJZZaNzBBg=="
RAW_DATA: Final = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong",'
    '"country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/'
    '1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"}'
)
RAW_SIGNATURE: Final = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


def self_check() -> None:
    """
    Every official example comes out as published.

    Raises:
        SelfCheckFailed: one does not.
    """
    sealed = base64.b64decode(crypto.encrypt(PLAIN_DATA, session_key=DATA_KEY, iv=base64.b64decode(DATA_IV)))
    results = {
        "login-state signature": (crypto.sign_login_state(SIGNED_KEY, SIGNED_BODY), BODY_SIGNATURE),
        "plain user data": (hashlib.sha256(PLAIN_DATA).hexdigest(), PLAIN_SHA256),
        "encrypted user data": (hashlib.sha256(sealed).hexdigest(), SEALED_SHA256),
        "rawData signature": (crypto.sign_raw_data(RAW_DATA, session_key=RAW_KEY), RAW_SIGNATURE),
    }
    wrong = [name for name, (made, published) in results.items() if made != published]
    if wrong:
        raise SelfCheckFailed(f"WeChat's published examples are not reproduced: {', '.join(wrong)}")
