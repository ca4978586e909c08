"""The master ring: what it accepts, what it derives, and that nothing of it shows."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.domain.cursors import Cursor, open_cursor, seal_cursor
from authsvc.keys import MasterRing
from authsvc.keys.ring import LABELS
from authsvc.ports import Sealer
from tests.fakes import SeededEntropy

OLD = bytes(range(32))
NEW = bytes(range(100, 132))


def spelled(key: bytes) -> str:
    return base64.b64encode(key).decode()


def sealer(*keys: bytes, seed: int = 1) -> Sealer:
    return MasterRing.parse(",".join(map(spelled, keys))).sealer(SeededEntropy(seed))


@pytest.mark.parametrize(
    "text",
    [
        f"{spelled(NEW)},{spelled(OLD)}",
        f"{spelled(NEW)}\n{spelled(OLD)}\n",
        f"  {base64.urlsafe_b64encode(NEW).decode()} ,\r\n {base64.urlsafe_b64encode(OLD).decode().rstrip('=')},,",
    ],
)
def test_every_spelling_is_the_same_ring(text: str) -> None:
    """
    Commas or newlines, base64 or base64url, padded or not: the same keys, the first one current.
    """
    ring = MasterRing.parse(text)

    assert MasterRing.parse(f"{spelled(NEW)},{spelled(OLD)}").ids() == ring.ids()
    assert MasterRing.parse(spelled(NEW)).ids()[0] == ring.ids()[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no master key"),
        (" ,\n, ", "no master key"),
        (spelled(OLD[:31]), "key 1 has 31 bytes"),
        (spelled(OLD + b"x"), "key 1 has 33 bytes"),
        (spelled(b"k" * 32), "key 1 is weak"),
        (spelled(bytes(32)), "key 1 is weak"),
        (f"{spelled(OLD)},{spelled(OLD).replace('=', '')}", "key 2 repeats"),
        (f"{spelled(OLD)},not base64 at all!", "key 2 is not base64"),
        (spelled(OLD)[:-2] + "9=", "key 1 is not base64"),  # stray bits behind the last byte
        ("ключ", "key 1 is not base64"),
    ],
)
def test_unusable_keys_are_refused_by_place(text: str, complaint: str) -> None:
    """
    Short, long, weak, doubled and unreadable keys are refused, and the message holds no part of any key.
    """
    with pytest.raises(ValueError, match=complaint) as refused:
        MasterRing.parse(text)

    for part in text.replace("\n", ",").split(","):
        assert not part.strip() or part.strip() not in str(refused.value)


def test_all_complaints_come_at_once() -> None:
    """
    One reading of the message is enough to mend the whole ring.
    """
    with pytest.raises(ValueError, match=r"key 1 has 3 bytes.*key 3 is weak"):
        MasterRing.parse(f"{spelled(b'abc')},{spelled(OLD)},{spelled(b'z' * 32)}")


def test_a_generated_key_is_accepted_and_new_every_time() -> None:
    """
    What `generate` writes, `parse` reads, and two calls do not agree.
    """
    entropy = SeededEntropy()
    first, second = MasterRing.generate(entropy), MasterRing.generate(entropy)

    assert len(MasterRing.parse(f"{first},{second}").ids()) == 2


def test_derivation_is_hkdf_sha256_with_the_label_as_info() -> None:
    """
    The derived keys equal RFC 5869 written out by hand: any other implementation can derive them.
    """
    ring = MasterRing.parse(spelled(OLD))
    pseudorandom = hmac.digest(bytes(32), OLD, hashlib.sha256)

    for label in ("refresh-mac", "seal", "blind-index", "cursor"):
        assert hmac.digest(pseudorandom, label.encode() + b"\x01", hashlib.sha256) == ring.ring(label).current


def test_purposes_share_ids_and_nothing_else() -> None:
    """
    A key id means the same master key in each purpose; the keys behind it are all different.
    """
    master = MasterRing.parse(f"{spelled(NEW)},{spelled(OLD)}")
    rings = [master.ring(label) for label in LABELS]

    assert len({(ring.current_id, tuple(ring.keys)) for ring in rings}) == 1
    assert 2 * len(LABELS) == len({key for ring in rings for key in ring.keys.values()})


def test_an_unknown_purpose_is_refused() -> None:
    """
    A misspelt label derives nothing.
    """
    with pytest.raises(ValueError, match="unknown purpose"):
        MasterRing.parse(spelled(OLD)).ring("refresh_mac")


def test_rings_serve_the_core() -> None:
    """
    `rings()` hands out the refresh and cursor rings; a cursor sealed before a rotation opens after it.
    """
    before = MasterRing.parse(spelled(OLD)).rings()
    after = MasterRing.parse(f"{spelled(NEW)},{spelled(OLD)}").rings()
    cursor = Cursor(incarnation=b"12345678", position=7)

    assert cursor == open_cursor(seal_cursor(cursor, ring=before.cursor), ring=after.cursor)
    assert before.refresh_mac.current == after.refresh_mac.keys[before.refresh_mac.current_id]
    assert before.refresh_mac.current_id != after.refresh_mac.current_id


def test_repr_shows_ids_only() -> None:
    """
    Neither a ring nor a derived ring prints key bytes in any form.
    """
    ring = MasterRing.parse(f"{spelled(NEW)},{spelled(OLD)}")
    shown = f"{ring!r} {ring.rings()!r} {ring.ring('seal')!r} {ring.sealer(SeededEntropy())!r}"

    assert ring.ids()[0] in shown
    for key in (OLD, NEW, *ring.ring("seal").keys.values()):
        assert repr(key)[2:-1] not in shown
        assert key.hex() not in shown
        assert spelled(key) not in shown


@given(plaintext=st.binary(max_size=200), context=st.binary(max_size=50))
def test_a_seal_opens_with_its_context(plaintext: bytes, context: bytes) -> None:
    """
    open(seal(x)) is x, and the blob has the documented layout: version, key id, nonce, ciphertext and tag.
    """
    box = sealer(OLD)
    blob = box.seal(plaintext, context=context)

    assert plaintext == box.open(blob, context=context)
    assert 1 + 4 + 12 + len(plaintext) + 16 == len(blob)
    assert b"\x01" + bytes.fromhex(MasterRing.parse(spelled(OLD)).ids()[0]) == blob[:5]


def test_an_old_seal_opens_after_a_rotation_and_not_after_its_key_is_gone() -> None:
    """
    Rotation keeps old blobs readable; a lost key is None, not an error.
    """
    blob = sealer(OLD).seal(b"session key", context=b"app|openid")

    assert sealer(NEW, OLD).open(blob, context=b"app|openid") == b"session key"
    assert sealer(NEW).open(blob, context=b"app|openid") is None


def test_new_seals_are_made_with_the_first_key() -> None:
    """
    Putting a key in front is enough to stop using the old one.
    """
    blob = sealer(NEW, OLD).seal(b"x", context=b"")

    assert sealer(NEW).open(blob, context=b"") == b"x"
    assert sealer(OLD).open(blob, context=b"") is None


def test_equal_plaintexts_never_look_equal() -> None:
    """
    Each seal draws its own nonce.
    """
    box = sealer(OLD)

    assert box.seal(b"x", context=b"c") != box.seal(b"x", context=b"c")


def test_every_flipped_bit_and_every_cut_is_refused() -> None:
    """
    Damage anywhere, version and key id included, opens to None.
    """
    box = sealer(OLD)
    blob = box.seal(b"session key", context=b"c")

    for bit in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        assert box.open(bytes(damaged), context=b"c") is None, f"bit {bit}"
    for length in range(len(blob)):
        assert box.open(blob[:length], context=b"c") is None, f"length {length}"


@given(context=st.binary(max_size=20), junk=st.binary(max_size=80))
def test_another_context_or_junk_opens_to_none(context: bytes, junk: bytes) -> None:
    """
    A blob moved to another row's context does not open, and no bytes make `open` raise.
    """
    box = sealer(OLD)

    assert (context == b"row") == (box.open(box.seal(b"x", context=b"row"), context=context) is not None)
    assert box.open(junk, context=context) is None
