"""The envelope, the padding, the watermark and the signature of user data (facts page 4)."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.errors import UserDataInvalid
from authsvc.domain.user_data import (
    BLOCK_BYTES,
    UserData,
    check_signature,
    decode_session_key,
    parse_envelope,
    read_plaintext,
)

IV = base64.b64encode(bytes(range(16))).decode()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Facts page 4.3.
SESSION_KEY = "HyVFkGl5F5OQWJZZaNzBBg=="
RAW_DATA = (
    '{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN",'
    '"avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAt'
    'pujxyzYsrztuuICqIM5ibXQ/0"}'
)
SIGNATURE = "75e81ceda165f4ffa64f4068af58c64b8f54b88c"


def pad(text: bytes) -> bytes:
    count = BLOCK_BYTES - len(text) % BLOCK_BYTES
    return text + bytes([count]) * count


def stamped(**changes: object) -> bytes:
    stamp = int(NOW.timestamp())
    return pad(json.dumps({"watermark": {"timestamp": stamp, "appid": "wx1"}, **changes}).encode())


def opened(**changes: object) -> UserData:
    data = read_plaintext(stamped(**changes))
    assert data is not None
    return data


def test_official_signature() -> None:
    """The vector of facts page 4.3: 243 bytes, exactly as received."""
    assert len(RAW_DATA) == 243
    assert check_signature(raw_data=RAW_DATA, signature=SIGNATURE, session_key=SESSION_KEY)


@pytest.mark.parametrize(
    ("raw_data", "signature", "session_key"),
    [
        (json.dumps(json.loads(RAW_DATA), indent=2), SIGNATURE, SESSION_KEY),
        (json.dumps(json.loads(RAW_DATA)), SIGNATURE, SESSION_KEY),
        (RAW_DATA.replace("/", "\\/"), SIGNATURE, SESSION_KEY),
        (RAW_DATA + "\n", SIGNATURE, SESSION_KEY),
        (RAW_DATA, SIGNATURE.upper(), SESSION_KEY),
        (RAW_DATA, SIGNATURE[:-1], SESSION_KEY),
        (RAW_DATA, "", SESSION_KEY),
        (RAW_DATA, SIGNATURE, SESSION_KEY[:-1]),
        (RAW_DATA, SIGNATURE, ""),
        ("\ud800", SIGNATURE, SESSION_KEY),
        (RAW_DATA, "\ud800", SESSION_KEY),
        (RAW_DATA, "签名", SESSION_KEY),
    ],
)
def test_other_texts_have_other_signatures(raw_data: str, signature: str, session_key: str) -> None:
    """Written anew, cut, of another key or no text at all: not signed, and never a crash."""
    assert not check_signature(raw_data=raw_data, signature=signature, session_key=session_key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAAAAAAAAAAAAAAAAAAAA=",  # cut
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA===",
        "AAAAAAAAAAAAAAAAAAAAAB==",  # stray bits: a second spelling
        "AAAA AAAAAAAAAAAAAAAAA==",  # a plus that became a space
        "AAAA-AAAAAAAAAAAAAAAAA==",
        "AAAA_AAAAAAAAAAAAAAAAA==",
        "AAAA%2BAAAAAAAAAAAAAAAA==",
        "AAAA\nAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAAA==\n",
        " AAAAAAAAAAAAAAAAAAAAAA==",
        "AAAA==AAAAAAAAAAAAAAAA==",
        "签名",
        "\ud800",
        "AAAAAAAAAAAAAAAAAAAA",  # 15 bytes
        "AAAAAAAAAAAAAAAAAAAAAAA=",  # 17 bytes
    ],
)
def test_damaged_envelope_has_one_reason(text: str) -> None:
    """As data or as iv: UserDataInvalid with one text, and nothing is repaired."""
    texts = set()
    for encrypted_data, iv in ((text, IV), (IV, text)):
        with pytest.raises(UserDataInvalid) as raised:
            parse_envelope(encrypted_data=encrypted_data, iv=iv)
        texts.add(str(raised.value))
        assert raised.value.__context__ is None
    assert len(texts) == 1


def test_envelope_has_a_limit() -> None:
    """A quarter of a megabyte is enough for anybody, and bounds the work."""
    big = base64.b64encode(bytes(16 * 16_000)).decode()
    with pytest.raises(UserDataInvalid):
        parse_envelope(encrypted_data=big, iv=IV)


@given(
    st.binary(min_size=1, max_size=64).map(lambda raw: raw * BLOCK_BYTES), st.binary(min_size=16, max_size=16)
)
def test_whole_envelopes_are_read(ciphertext: bytes, iv: bytes) -> None:
    """Any whole blocks with any iv come out as they went in, and are not shown."""
    envelope = parse_envelope(
        encrypted_data=base64.b64encode(ciphertext).decode(), iv=base64.b64encode(iv).decode()
    )
    assert (envelope.ciphertext, envelope.iv) == (ciphertext, iv)
    assert repr(envelope) == "Envelope()"


@given(st.text(max_size=200))
def test_any_text_is_refused_or_read(text: str) -> None:
    """No text crashes the reader."""
    try:
        parse_envelope(encrypted_data=text, iv=IV)
    except UserDataInvalid:
        return
    assert len(base64.b64decode(text)) % BLOCK_BYTES == 0


@pytest.mark.parametrize(
    "key", ["", "AAAA", "A" * 24, "AAAAAAAAAAAAAAAAAAAAAA=", "\ud800", "AAAAAAAAAAAAAAAAAAAAAB=="]
)
def test_odd_session_key_is_no_key(key: str) -> None:
    """What is not base64 of 16 bytes opens nothing."""
    assert decode_session_key(key) is None


@given(st.binary(max_size=80))
def test_padding_is_strict(text: bytes) -> None:
    """Of all 256 last bytes and all changed pad bytes only the right ones are padding."""
    body = json.dumps({"watermark": {"timestamp": 1, "appid": "a"}, "x": text.hex()}).encode()
    padded = pad(body)
    count = padded[-1]
    assert read_plaintext(padded) is not None
    for place in range(2, count + 1):
        assert (
            read_plaintext(padded[:-place] + bytes([padded[-place] ^ 1]) + padded[len(padded) - place + 1 :])
            is None
        )
    assert read_plaintext(padded[:-1]) is None
    assert read_plaintext(padded[:-1] + b"\x00") is None
    assert read_plaintext(padded[:-1] + b"\x11") is None
    assert read_plaintext(padded[:-1] + b"\xff") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"watermark"',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"watermark":[]}',
        b'{"watermark":{}}',
        b'{"watermark":{"appid":"a"}}',
        b'{"watermark":{"timestamp":1}}',
        b'{"watermark":{"appid":7,"timestamp":1}}',
        b'{"watermark":{"appid":"a","timestamp":"1"}}',
        b'{"watermark":{"appid":"a","timestamp":true}}',
        b'{"watermark":{"appid":"a","timestamp":1.5}}',
        b'{"watermark":{"appid":"a","timestamp":1e30}}',
        b'{"watermark":{"appid":"a","timestamp":' + b"9" * 30 + b"}}",
        b'{"watermark":{"appid":"a","timestamp":' + b"9" * 5000 + b"}}",
        b'{"watermark":{"appid":"\\ud800","timestamp":1}}',
        b'{"watermark":{"appid":"a","timestamp":1},"x":NaN}',
        b'\xff{"watermark":{"appid":"a","timestamp":1}}',
        b'\xef\xbb\xbf{"watermark":{"appid":"a","timestamp":1}}',
        '{"watermark":{"appid":"a","timestamp":1}}'.encode("utf-16"),
    ],
)
def test_what_is_no_user_data(text: bytes) -> None:
    """Not UTF-8, not a JSON object, or without a whole watermark: nothing, whatever it is instead."""
    assert read_plaintext(pad(text)) is None


def test_text_is_kept_as_it_was() -> None:
    """A back end gets WeChat's own spelling, and nothing of it is in the repr."""
    text = '{ "a":"\\u4f60", "watermark": {"appid":"wx1","timestamp":1477314187} }'
    data = read_plaintext(pad(text.encode()))
    assert data is not None
    assert (data.text, data.fields["a"]) == (text, "你")
    assert data.stamped_at == datetime(2016, 10, 24, 13, 3, 7, tzinfo=UTC)
    assert "你" not in repr(data)
    assert "4f60" not in repr(data)


@pytest.mark.parametrize("app_id", ["wx2", "", "wx1 ", "WX1"])
def test_another_app_is_refused(app_id: str) -> None:
    """The watermark has to name exactly this app."""
    with pytest.raises(UserDataInvalid):
        opened().judge(app_id=app_id, now=NOW)


def test_freshness() -> None:
    """Only where it is asked for: not older than that, and not from a future beyond the skew of clocks."""
    hour = timedelta(hours=1)
    data = opened()
    data.judge(app_id="wx1", now=NOW + timedelta(days=900))
    data.judge(app_id="wx1", now=NOW + hour, freshness=hour)
    data.judge(app_id="wx1", now=NOW - timedelta(minutes=5), freshness=hour)
    for now in (NOW + hour + timedelta(seconds=1), NOW - timedelta(minutes=5, seconds=1)):
        with pytest.raises(UserDataInvalid):
            data.judge(app_id="wx1", now=now, freshness=hour)


def test_owner() -> None:
    """Data with an openId is its owner's; data without one (steps, groups) is anybody's who could open it."""
    opened().judge(app_id="wx1", now=NOW, openid="o1")
    opened(openId="o1").judge(app_id="wx1", now=NOW, openid="o1")
    opened(openId="o1").judge(app_id="wx1", now=NOW)
    for owner in ("o2", "", 7, ["o1"]):
        with pytest.raises(UserDataInvalid):
            opened(openId=owner).judge(app_id="wx1", now=NOW, openid="o1")
