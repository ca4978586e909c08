"""Decryption: the official vector, and that every hostile variant of it is refused as it should be (facts page 4)."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.errors import AuthError, SessionKeyStale, UserDataInvalid
from authsvc.domain.user_data import UserData
from authsvc.ports import DecryptUserData
from authsvc.wechat import decrypt_user_data

# Facts page 4.2.
APP_ID = "wx4f4bc4dec97d474b"
SESSION_KEY = "tiihtNczf5v6AKRyjwEUhQ=="
IV = "r7BXXKkLb8qrSNn05n0qiA=="
ENCRYPTED_DATA = (
    "CiyLU1Aw2KjvrjMdj8YKliAjtP4gsMZMQmRzooG2xrDcvSnxIMXFufNstNGTyaGS9uT5geRa0W4oTOb1WT7fJlAC+oNPdbB+3hVbJSRgv+4lGOET"
    "KUQz6OYStslQ142dNCuabNPGBzlooOmB231qMM85d2/fV6ChevvXvQP8Hkue1poOFtnEtpyxVLW1zAo6/1Xx1COxFvrc2d7UL/lmHInNlxuacJXw"
    "u0fjpXfz/YqYzBIBzD6WUfTIF9GRHpOn/Hz7saL8xz+W//FRAUid1OksQaQx4CMs8LOddcQhULW4ucetDf96JcR3g0gfRK4PC7E/r7Z6xNrXd2UI"
    "eorGj5Ef7b1pJAYB6Y5anaHqZ9J6nKEBvB4DnNLIVWSgARns/8wR2SiRS7MNACwTyrGvt9ts8p12PKFdlqYTopNHR1Vf7XjfhQlVsAJdNiKdYmYV"
    "oKlaRv85IfVunYzO0IKXsyl7JCUjCpoG20f0a04COwfneQAGGwd5oa+T8yO5hzuyDb/XcxxmK01EpqOyuxINew=="
)
OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
OTHER_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
NOW = datetime(2016, 10, 24, 13, 5, tzinfo=UTC)
CIPHERTEXT = base64.b64decode(ENCRYPTED_DATA)

decrypter: DecryptUserData = decrypt_user_data


def decrypt(
    encrypted_data: str = ENCRYPTED_DATA,
    iv: str = IV,
    *,
    keys: tuple[str, ...] = (SESSION_KEY,),
    app_id: str = APP_ID,
    freshness: timedelta | None = None,
    openid: str | None = None,
) -> UserData:
    return decrypter(
        encrypted_data=encrypted_data,
        iv=iv,
        session_keys=keys,
        app_id=app_id,
        now=NOW,
        freshness=freshness,
        openid=openid,
    )


def encrypt(padded: bytes, *, key: str = SESSION_KEY) -> str:
    cipher = Cipher(algorithms.AES128(base64.b64decode(key)), modes.CBC(base64.b64decode(IV))).encryptor()
    return base64.b64encode(cipher.update(padded) + cipher.finalize()).decode()


def pad(text: bytes) -> bytes:
    count = 16 - len(text) % 16
    return text + bytes([count]) * count


def refusal(encrypted_data: str = ENCRYPTED_DATA, iv: str = IV, **more: object) -> AuthError:
    with pytest.raises(AuthError) as raised:
        decrypt(encrypted_data, iv, **more)  # type: ignore[arg-type]
    assert raised.value.__context__ is None
    return raised.value


def test_official_vector() -> None:
    """It opens to exactly the published bytes, and they encrypt to the published ones again."""
    assert (
        hashlib.sha256(CIPHERTEXT).hexdigest()
        == "37d51d3f56b5f78d5d02b7962f669c58dfed703f138aa60a2c3b2a1597ad6c00"
    )
    data = decrypt(freshness=timedelta(hours=1), openid=OPENID)
    plain = data.text.encode()
    assert len(plain) == 393
    assert (
        hashlib.sha256(plain).hexdigest()
        == "3237d8a5dbd413523c194882c7156544d8a06e2afcc97383cc300c17bd09391b"
    )
    assert encrypt(pad(plain)) == ENCRYPTED_DATA
    assert (data.fields["openId"], data.fields["nickName"]) == (OPENID, "Band")
    assert data.stamped_at == datetime.fromtimestamp(1477314187, UTC)
    assert OPENID not in repr(data)


@pytest.mark.parametrize(
    "keys", [(SESSION_KEY, OTHER_KEY), (OTHER_KEY, SESSION_KEY), ("damaged", SESSION_KEY)]
)
def test_latest_then_previous(keys: tuple[str, ...]) -> None:
    """Whichever of the keys fits opens it."""
    assert decrypt(keys=keys).fields["openId"] == OPENID


@pytest.mark.parametrize("keys", [(), (OTHER_KEY,), (OTHER_KEY, OTHER_KEY), ("damaged",), ("",)])
def test_no_key_fits(keys: tuple[str, ...]) -> None:
    """No key, a wrong one or one that is none: log in first."""
    assert type(refusal(keys=keys)) is SessionKeyStale


@pytest.mark.parametrize(
    "encrypted_data",
    [
        ENCRYPTED_DATA.replace("+", " "),
        ENCRYPTED_DATA.replace("+", "%2B").replace("/", "%2F"),
        ENCRYPTED_DATA.replace("+", "-").replace("/", "_"),
        ENCRYPTED_DATA.rstrip("="),
        ENCRYPTED_DATA[:-1],
        ENCRYPTED_DATA + "\n",
        ENCRYPTED_DATA[:100] + "\n" + ENCRYPTED_DATA[100:],
        base64.b64encode(CIPHERTEXT[:-1]).decode(),
        base64.b64encode(ENCRYPTED_DATA.encode() + b"1234567").decode(),
        "",
        "签名",
    ],
)
def test_damaged_data_is_invalid(encrypted_data: str) -> None:
    """Re-encoded or truncated within a block: USER_DATA_INVALID, whatever the keys are; nothing is repaired."""
    assert type(refusal(encrypted_data)) is UserDataInvalid
    assert type(refusal(encrypted_data, keys=())) is UserDataInvalid


@pytest.mark.parametrize(
    "iv", ["", IV[:-1], IV.replace("r7BX", "r7B "), "AAAA", base64.b64encode(bytes(32)).decode()]
)
def test_damaged_iv_is_invalid(iv: str) -> None:
    """An iv that is not 16 bytes of base64 is damage."""
    assert type(refusal(iv=iv)) is UserDataInvalid


def test_wrong_iv_is_one_with_every_other_failure() -> None:
    """Another iv garbles the first block; it can't be told from a wrong key."""
    assert type(refusal(iv=base64.b64encode(bytes(16)).decode())) is SessionKeyStale


def test_crypto_failures_are_indistinguishable() -> None:
    """Wrong key, wrong iv, bad padding, cut blocks, no UTF-8, no JSON, no watermark: the same error, word for word."""
    plain = decrypt().text.encode()
    failures = [
        refusal(keys=(OTHER_KEY,)),
        refusal(keys=()),
        refusal(iv=base64.b64encode(bytes(16)).decode()),
        refusal(encrypt(plain + b"\x07" * 6 + b"\x08")),
        refusal(encrypt(plain + b"\x06" + b"\x07" * 6)),
        refusal(encrypt(plain + b"\x00" * 7)),
        refusal(base64.b64encode(CIPHERTEXT[:-16]).decode()),
        refusal(base64.b64encode(CIPHERTEXT[16:]).decode()),
        refusal(encrypt(pad(b"\xff" + plain))),
        refusal(encrypt(pad(b"no json"))),
        refusal(encrypt(pad(b"[]"))),
        refusal(encrypt(pad(b"{}"))),
    ]
    assert {(type(failure), str(failure), repr(failure.metadata)) for failure in failures} == {
        (SessionKeyStale, "no session_key opens the data", repr(SessionKeyStale().metadata))
    }


def test_what_opens_and_is_not_ours_is_invalid() -> None:
    """Another app's watermark, an old stamp, another owner: a new login would change nothing."""
    for failure in (
        refusal(app_id="wx4f4bc4dec97d474c"),
        refusal(freshness=timedelta(minutes=1)),
        refusal(openid="somebody else"),
        refusal(app_id="wx4f4bc4dec97d474c", keys=(OTHER_KEY, SESSION_KEY)),
    ):
        assert (type(failure), str(failure)) == (UserDataInvalid, "opened, and not ours")


@given(st.integers(16 * 8, len(CIPHERTEXT) * 8 - 1))
def test_flipped_bits_never_pass_for_the_original(bit: int) -> None:
    """A bit flipped behind the first block garbles that block: refused, or visibly not the published text."""
    flipped = bytearray(CIPHERTEXT)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        data = decrypt(base64.b64encode(flipped).decode())
    except (SessionKeyStale, UserDataInvalid) as error:
        assert error.__context__ is None
    else:
        assert data.text != decrypt().text


@given(st.integers(0, 127))
def test_flipped_last_block_is_stale(bit: int) -> None:
    """The last block holds the padding: garbled, it is no padding but once in 2^16 or so, and never the same text."""
    flipped = bytearray(CIPHERTEXT)
    flipped[-16 + bit // 8] ^= 1 << bit % 8
    assert type(refusal(base64.b64encode(flipped).decode())) is SessionKeyStale


@given(st.integers(0, len(ENCRYPTED_DATA) - 1))
def test_truncation_is_refused(length: int) -> None:
    """Cut anywhere: damage if it is no whole block, else one with every other failure."""
    kind = type(refusal(ENCRYPTED_DATA[:length]))
    whole = length % 4 == 0 and length > 0 and (length // 4 * 3) % 16 == 0
    assert kind is (SessionKeyStale if whole else UserDataInvalid)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=1, max_size=20).map(lambda raw: raw * 16))
def test_noise_is_refused(iv: bytes, ciphertext: bytes) -> None:
    """Random blocks open to nothing."""
    noise = refusal(base64.b64encode(ciphertext).decode(), base64.b64encode(iv).decode())
    assert type(noise) is SessionKeyStale


@given(
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=5
    )
)
def test_whatever_wechat_encrypts_is_opened(fields: dict[str, object]) -> None:
    """New fields may be added (facts page 4.1): they come through as they are."""
    text = json.dumps({**fields, "watermark": {"appid": APP_ID, "timestamp": 1477314187}}, ensure_ascii=False)
    assert decrypt(encrypt(pad(text.encode("utf-8", "replace")))).fields["watermark"] is not None


def test_no_failure_shows_anything() -> None:
    """Neither keys nor data nor plaintext are in an error's text or on its chain."""
    for failure in (refusal(keys=(OTHER_KEY,)), refusal(app_id="wx2"), refusal(ENCRYPTED_DATA[:-1])):
        seen = str(failure) + repr(failure) + repr(failure.args)
        for secret in (SESSION_KEY, OTHER_KEY, IV, ENCRYPTED_DATA[:20], OPENID):
            assert secret not in seen
