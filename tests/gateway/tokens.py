"""Valid and invalid tokens for the rows."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

ISSUER = "pti-calendar"
TENANT = "11111111-1111-4111-8111-111111111111"


def headers_and_query(kind: str | None, key: str) -> tuple[dict[str, str], str]:
    """Return the headers that contain a token of a kind, and its addition to the query."""
    if kind is None:
        return {}, ""
    claims: dict[str, Any] = {"iss": ISSUER, "exp": int(time.time()) + 300, "tenant_id": TENANT}
    if kind == "in-address":
        return {}, "jwt=" + sign(claims, key)
    if kind == "in-cookie":
        return {"Cookie": "jwt=" + sign(claims, key)}, ""
    made = {
        "valid": lambda: sign(claims, key),
        "expired": lambda: sign(claims | {"exp": 1}, key),
        "endless": lambda: sign({"iss": ISSUER}, key),
        "text-end": lambda: sign(claims | {"exp": "2099"}, key),
        "stranger": lambda: sign(claims | {"iss": "stranger"}, key),
        "forged": lambda: sign(claims, key + "x"),
        "unsigned": lambda: sign(claims, key, algorithm="none"),
        "hs512": lambda: sign(claims, key, algorithm="HS512"),
    }
    return {"Authorization": "Bearer " + made[kind]()}, ""


def sign(claims: Mapping[str, Any], key: str, algorithm: str = "HS256") -> str:
    """Return a JSON Web Token."""
    head = _encoded(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    text = f"{head}.{_encoded(json.dumps(claims).encode())}"
    digests = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}
    if algorithm not in digests:
        return text + "."
    return f"{text}.{_encoded(hmac.new(key.encode(), text.encode(), digests[algorithm]).digest())}"


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
