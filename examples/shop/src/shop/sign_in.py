"""Authentication of customers at the gateway, by a signed token."""

from __future__ import annotations

from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser
from starlette.requests import HTTPConnection


@dataclass(frozen=True)
class Customer(BaseUser):
    """A customer who has signed in."""

    id: str
    session: str

    @property
    def is_authenticated(self) -> bool:
        return True


class SignIn(AuthenticationBackend):
    """Issues tokens, and reads them from `Authorization: Bearer TOKEN`."""

    def __init__(self, secret: str) -> None:
        self._signer = URLSafeSerializer(secret, salt="sign-in")

    def token(self, customer: Customer) -> str:
        """Return the token that the customer's browser sends with each request."""
        token: str = self._signer.dumps([customer.id, customer.session])
        return token

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            user, session = self._signer.loads(token)
        except BadSignature:
            return None
        return AuthCredentials(["customer"]), Customer(user, session)
