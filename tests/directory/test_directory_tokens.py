"""Access tokens: forged, foreign, expired, tampered with; and pages' cursors."""

from __future__ import annotations

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from moonbow.base.base64url import decode64, encode64
from moonbow.base.errors import Refused
from moonbow.directory.cursors import Cursors
from moonbow.directory.keys import make_key
from moonbow.directory.model import Claims
from moonbow.directory.tokens import check_token, is_operator, scope_of, sign_token

NOW = 1_800_000_000.0
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
KEYS = {"key_emea_1": KEY.public_key()}
CLAIMS = Claims(
    iss="emea", sub="usr_emea_1", home="emea", org="org_emea_1", role="member", scope="user", sid="fam_emea_1",
    iat=NOW, exp=NOW + 600,
)  # fmt: skip


def replace(**changes: object) -> Claims:
    return msgspec.structs.replace(CLAIMS, **changes)


def code_of(token: str, now: float = NOW) -> str:
    with pytest.raises(Refused) as caught:
        check_token(token, "emea", KEYS, now)
    assert caught.value.status == 401
    return caught.value.code


def test_a_good_token_says_who() -> None:
    assert check_token(sign_token(KEY, "key_emea_1", CLAIMS), "emea", KEYS, NOW + 599) == CLAIMS


def test_another_library_agrees() -> None:
    """RFC 7515 and RFC 8037 as joserfc reads them; it would have RFC 9864's "Ed25519", which Envoy does not know."""
    made = make_key("emea", NOW, NOW)
    key = Ed25519PrivateKey.from_private_bytes(decode64(made.d))
    jwk = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "kid": made.kid, "x": made.x})
    with pytest.warns(SecurityWarning, match="RFC 9864"):
        found = jws.deserialize_compact(sign_token(key, made.kid, CLAIMS), jwk, algorithms=["EdDSA"])
    assert found.headers()["kid"] == made.kid
    body = msgspec.json.decode(found.payload)
    assert (body["iss"], body["sub"], body["exp"]) == ("emea", "usr_emea_1", NOW + 600)


@pytest.mark.parametrize(
    ("token", "now", "code"),
    [
        (sign_token(KEY, "key_emea_1", CLAIMS), NOW + 600, "token_expired"),
        (sign_token(OTHER, "key_emea_1", CLAIMS), NOW, "token_invalid"),
        (sign_token(KEY, "key_emea_2", CLAIMS), NOW, "token_invalid"),
        (sign_token(KEY, "key_emea_1", replace(home="apac")), NOW, "token_invalid"),
        (sign_token(KEY, "key_emea_1", replace(scope="admin")), NOW, "token_invalid"),
        (sign_token(OTHER, "key_apac_1", replace(iss="apac", home="apac")), NOW, "token_foreign"),
        (sign_token(KEY, "key_emea_1", replace(iss="apac", home="emea")), NOW, "token_foreign"),
        ("", NOW, "token_invalid"),
        ("a.b.c", NOW, "token_invalid"),
        ("é.é.é", NOW, "token_invalid"),
        ("x" * 5000, NOW, "token_invalid"),
    ],
)
def test_bad_tokens(token: str, now: float, code: str) -> None:
    assert code_of(token, now) == code


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256", "eddsa"])
def test_another_algorithm_is_not_believed(alg: str) -> None:
    header = encode64(msgspec.json.encode({"alg": alg, "kid": "key_emea_1"}))
    body = sign_token(KEY, "key_emea_1", CLAIMS).split(".")[1]
    signed = f"{header}.{body}"
    assert code_of(f"{signed}.{encode64(KEY.sign(signed.encode()))}") == "token_invalid"
    assert code_of(f"{signed}.") == "token_invalid"


@given(place=st.integers(0, 10_000), char=st.sampled_from("ABCxyz019-_.="))
def test_no_character_can_be_changed(place: int, char: str) -> None:
    token = sign_token(KEY, "key_emea_1", CLAIMS)
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]
    if changed != token:
        assert code_of(changed) in {"token_invalid", "token_foreign"}


@given(data=st.binary(max_size=80))
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = encode64(data)
    assert decode64(text) == data
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(key=st.tuples(st.text(max_size=64), st.text(max_size=40)))
def test_a_cursor_opens_where_it_was_sealed_only(key: tuple[str, str]) -> None:
    try:
        key[0].encode(), key[1].encode()
    except UnicodeEncodeError:
        return
    here, elsewhere = Cursors(b"a" * 32), Cursors(b"b" * 32)
    cursor = here.seal(key)
    assert here.open(cursor) == key
    for wrong in (cursor[:-1], cursor + "A", "", "é", "A" * 600):
        with pytest.raises(Refused, match="cursor_unknown"):
            here.open(wrong)
    with pytest.raises(Refused, match="cursor_unknown"):
        elsewhere.open(cursor)


def test_an_operator_is_a_user_with_one_word_more() -> None:
    both = replace(scope=scope_of(True))
    found = check_token(sign_token(KEY, "key_emea_1", both), "emea", KEYS, NOW)
    assert is_operator(found)
    assert not is_operator(CLAIMS)
    assert scope_of(False) == CLAIMS.scope
    for scope in ("operator", "useroperator", "superuser", ""):
        assert code_of(sign_token(KEY, "key_emea_1", replace(scope=scope))) == "token_invalid"
