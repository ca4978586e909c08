"""Reading bodies: liberal in form, strict about what grants a login (facts page 1.2)."""

import pytest

from authsvc.wechat.replies import Granted, Refused, Unreadable, find_rid, read_reply, read_session

RID = "67f5d2f4-0a1b2c3d-4e5f6071"


def granted(body: bytes) -> tuple[str, str, str | None]:
    reading = read_reply(body, read_session)
    assert isinstance(reading, Granted), reading
    return reading.value.openid, reading.value.session_key, reading.value.unionid


@pytest.mark.parametrize(
    "body",
    [
        rb'{"session_key":"k\/k","openid":"o"}',
        rb'{"session_key":"k/k","openid":"o","errcode":0,"errmsg":"ok"}',
        rb'{"session_key":"k/k","openid":"o","errcode":"0"}',
        rb'{"session_key":"k/k","openid":"o","errcode":null,"unionid":""}',
        rb'{"session_key":"k/k","openid":"o","expires_in":7200}',
        b"\xef\xbb\xbf" + rb'{"session_key":"k/k","openid":"o"}',
        rb' {"session_key":"k/k","openid":"o"}' + b"\r\n",
    ],
)
def test_success_is_both_fields_and_no_errcode(body: bytes) -> None:
    """A login is granted by openid and session_key with errcode absent or zero, escaped slashes undone."""
    assert granted(body) == ("o", "k/k", None)


def test_unionid_is_taken_where_it_is() -> None:
    """A bound app's answer carries the unionid."""
    assert granted(b'{"session_key":"k","openid":"o","unionid":"u"}') == ("o", "k", "u")


@pytest.mark.parametrize("form", ["40029", '"40029"', '" 40029 "', "-1", '"-1"'])
def test_errcode_may_be_quoted(form: str) -> None:
    """An errcode refuses whether it is a number or the same number as text."""
    expected = int(form.strip('" '))
    assert Refused(expected, RID) == read_reply(
        f'{{"errcode":{form},"errmsg":"x, rid: {RID}"}}'.encode(), read_session
    )


def test_errcode_beats_session() -> None:
    """An answer that carries both a session and a non-zero errcode grants nothing."""
    reading = read_reply(b'{"session_key":"k","openid":"o","errcode":40029}', read_session)
    assert Refused(40029, "") == reading


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty_body"),
        (b"\xef\xbb\xbf", "empty_body"),
        (b" \r\n", "empty_body"),
        (b"<html><body>502 Bad Gateway</body></html>", "not_a_json_object"),
        (b'{"session_key":"k","open', "not_a_json_object"),
        (b'[{"session_key":"k","openid":"o"}]', "not_a_json_object"),
        (b'"text"', "not_a_json_object"),
        (b"null", "not_a_json_object"),
        (b'{"session_key":"k","openid":"\xc4\xe3"}', "not_a_json_object"),  # gbk
        (b'{"session_key":"k","openid":"\\ud800"}', "not_a_json_object"),  # a lone surrogate breaks protobuf
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "not_a_json_object"),
        (b"{}", "no_session"),
        (b'{"openid":"o"}', "no_session"),
        (b'{"session_key":"k"}', "no_session"),
        (b'{"session_key":"k","openid":""}', "no_session"),
        (b'{"session_key":"","openid":"o"}', "no_session"),
        (b'{"session_key":"k","openid":7}', "no_session"),
        (b'{"session_key":null,"openid":"o"}', "no_session"),
        (b'{"session_key":"k","openid":"' + b"o" * 513 + b'"}', "no_session"),
        (b'{"session_key":"k","openid":"o","unionid":7}', "odd_unionid"),
        (b'{"session_key":"k","openid":"o","errcode":"no"}', "odd_errcode"),
        (b'{"session_key":"k","openid":"o","errcode":""}', "odd_errcode"),
        (b'{"session_key":"k","openid":"o","errcode":true}', "odd_errcode"),
        (b'{"session_key":"k","openid":"o","errcode":false}', "odd_errcode"),
        (b'{"session_key":"k","openid":"o","errcode":0.5}', "odd_errcode"),
        (b'{"session_key":"k","openid":"o","errcode":{}}', "odd_errcode"),
        (b'{"session_key":"k","openid":"o","errcode":"99999999999999999999"}', "odd_errcode"),
    ],
)
def test_anything_else_is_unreadable(body: bytes, why: str) -> None:
    """What is not this endpoint's answer grants nothing and raises nothing."""
    assert Unreadable(why) == read_reply(body, read_session)


@pytest.mark.parametrize(
    ("errmsg", "rid"),
    [
        (f"invalid code, rid: {RID}", RID),
        (f"invalid credential hint: [abc] rid: {RID}", RID),
        ("code been used, hints: [ req_id: kVFKGa0297th58 ]", "kVFKGa0297th58"),
        ("invalid code", ""),
        ("", ""),
        (None, ""),
        (["rid: " + RID], ""),
        ("rid: 5a4d00000000000000000000000000d1", ""),
        ("req_id: 5a4d00000000000000000000000000d1", ""),
        ("req_id: Y2FuYXJ5a2V5Y2Fu/XJ5a2V5", ""),
    ],
)
def test_rid_is_found_in_either_form_and_is_never_a_secret(errmsg: object, rid: str) -> None:
    """The trace id comes out of both its forms; something long enough to be a secret does not."""
    assert rid == find_rid(errmsg)


def test_reprs_hide_the_session() -> None:
    """Neither openid nor session_key shows in the repr of a reading."""
    text = repr(
        read_reply(b'{"session_key":"canary-k","openid":"canary-o","unionid":"canary-u"}', read_session)
    )
    assert "canary" not in text
