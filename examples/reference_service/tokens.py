"""The tenant of a verified token. The gateway verifies it, too, but the service doesn't rely on that."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from uuid import UUID

import jwt

from .settings import Tokens


class Refused(Exception):
    """The request's token is refused; `status` and `reason` are the response."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def tenant_of(authorization: str, tokens: Tokens) -> UUID:
    """Return the tenant in the token of an `Authorization` header.

    Raises:
        Refused: 401 without a valid token (signature, `exp`, `iss`), 403 if a valid token has no tenant.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(401, "a bearer token is needed")
    try:
        claims = jwt.decode(
            token.strip(),
            tokens.secret,
            algorithms=[tokens.algorithm],
            issuer=tokens.issuer,
            # The audience isn't checked: the platform's tokens are for all services.
            # Nor is `iat`: the issuer's clock may be ahead (jpadilla/pyjwt#824).
            options={"require": ["exp", "iss"], "verify_aud": False, "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        raise Refused(401, f"the token is not valid: {type(error).__name__}") from None
    try:
        return UUID(claims["tenant_id"])
    except (KeyError, ValueError, AttributeError, TypeError):
        raise Refused(403, "the token names no tenant") from None
