"""
The key that signs tokens with RS512; its public half is published as a JSON Web Key Set.

Commerce Layer signs its tokens like this, and js-auth's `jwtVerify` verifies them. The key is made for the first token
and stored in the database, so that tokens stay valid after a restart.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from blocks.sandbox.shop.database import Database

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_BITS, _EXPONENT = 2048, 65537
_STATE_NAME = "signing_key"


class Signer:
    """Signs tokens, and recognizes its own signatures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def header(self) -> bytes:
        """The first segment of every token."""
        return encoded(orjson.dumps({"alg": "RS512", "typ": "JWT", "kid": self._key_id}))

    def sign(self, signed: bytes) -> bytes:
        """The last segment of a token whose other two are `signed`."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        return encoded(self._key.sign(signed, PKCS1v15(), hashes.SHA512()))

    def is_ours(self, signed: bytes, signature: bytes) -> bool:
        """Whether `sign` made this signature. It is deterministic, so signing again gives the same."""
        return self.sign(signed) == signature

    def published(self) -> dict[str, Any]:
        """The key set at /.well-known/jwks.json."""
        return {"keys": [{**self._public, "kid": self._key_id, "alg": "RS512", "use": "sig"}]}

    @cached_property
    def _key(self) -> RSAPrivateKey:
        # Imported here, because the import takes longer than everything else in a sandbox's start.
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        stored = self._database.state(_STATE_NAME, "")
        if stored:
            key = serialization.load_pem_private_key(stored.encode(), password=None)
            assert isinstance(key, rsa.RSAPrivateKey)
            return key
        made = rsa.generate_private_key(_EXPONENT, _BITS)
        plain = serialization.NoEncryption()
        text = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        self._database.set_state(_STATE_NAME, text.decode())
        return made

    @cached_property
    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        return {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}

    @cached_property
    def _key_id(self) -> str:
        """The key's thumbprint (RFC 7638): members in this order, no spaces."""
        return encoded(hashlib.sha256(orjson.dumps(self._public)).digest()).decode()


def encoded(content: bytes) -> bytes:
    """Base64 for URLs, without padding, as all segments of a token are."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()
