"""The token check of a door: which token is valid, and the home region it proves.

Laws: a key of region r is valid only for tokens with `iss` = r, so there is one provider per (issuer, source); a single
provider with several sources would let two tokens of one request name two homes.  Of a region without keys no token
is valid.  A token in `Sec-WebSocket-Protocol` counts on the stream only, and only without an `Authorization` header.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

from moonbow.base.limits import CLOCK_SKEW_S

from .model import HOME_HEADER, SIGN_IN_PATH, STREAM_PATH, Door, Json, Key, Keys
from .xds import match_header, resources, typed

FILTER = "moonbow-tokens"
TYPE = "extensions.filters.http.jwt_authn.v3.JwtAuthentication"
ANONYMOUS_PATHS = ("/v1/bootstrap", "/v1/keys", "/v1/openapi.json")
ANONYMOUS_POSTS = (SIGN_IN_PATH, SIGN_IN_PATH + "/refresh")
_SOURCES: dict[str, Json] = {
    "bearer": {"from_headers": [{"name": "authorization", "value_prefix": "Bearer "}]},
    "protocol": {"from_headers": [{"name": "sec-websocket-protocol", "value_prefix": "moonbow.jwt."}]},
}


def compile_tokens(door: Door, keys: Keys) -> Json:
    """The ECDS file of the token filter."""
    providers = {
        f"{region}-{name}": _provider(region, keys.get(region) or (nobodys_key(),), where)
        for region in door.regions()
        for name, where in _SOURCES.items()
    }
    bearer, protocol = (_any_of([f"{region}-{name}" for region in door.regions()]) for name in _SOURCES)
    rules: list[Json] = [{"match": {"path": path}} for path in ANONYMOUS_PATHS]
    post = [match_header(":method", "exact", "POST")]
    rules += [{"match": {"path": path, "headers": post}} for path in ANONYMOUS_POSTS]
    rules += [
        {
            "match": {"path": STREAM_PATH, "headers": [{"name": "authorization", "present_match": True}]},
            "requires": bearer,
        },
        {"match": {"path": STREAM_PATH}, "requires": protocol},
        {"match": {"path_separated_prefix": "/v1"}, "requires": bearer},
        {"match": {"prefix": "/"}},
    ]
    check = typed(TYPE, providers=providers, rules=rules)
    return resources(typed("config.core.v3.TypedExtensionConfig", name=FILTER, typed_config=check))


def nobodys_key() -> Key:
    """A key that stands for "no key", since Envoy takes no empty set: a hash, so nobody has its other half."""
    hashed = hashlib.sha256(b"moonbow: a key that nobody has").digest()
    return Key("nobody", base64.urlsafe_b64encode(hashed).rstrip(b"=").decode())


def _provider(region: str, keys: Sequence[Key], where: Json) -> Json:
    kind = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}
    found = {"keys": [{**kind, "kid": key.kid, "x": key.x} for key in keys]}
    return {
        "issuer": region,
        "local_jwks": {"inline_string": json.dumps(found)},
        "require_expiration": True,
        "clock_skew_seconds": int(CLOCK_SKEW_S),
        "forward": True,
        "claim_to_headers": [{"header_name": HOME_HEADER, "claim_name": "iss"}],
        "clear_route_cache": True,
        "jwt_cache_config": {"jwt_cache_size": 1000},
        **where,
    }


def _any_of(names: list[str]) -> Json:
    wanted = [{"provider_name": name} for name in names]
    return wanted[0] if len(wanted) == 1 else {"requires_any": {"requirements": wanted}}
