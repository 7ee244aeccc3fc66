"""Credential files of NATS: a JSON web token and the seed of an Ed25519 key (an NKEY)."""

from __future__ import annotations

import base64
import re

from gym_loop.errors import BridgeConnectionError
from gym_loop.schema.files import expanded

_BLOCK = re.compile(r"-+BEGIN ([A-Z ]+)-+\s+(\S+)\s+-+END")


def signed(file: str, nonce: str) -> dict[str, str]:
    """The fields of CONNECT that prove who we are: the file's token, and the signed nonce.

    Raises:
        BridgeConnectionError: the file cannot be read, holds no credentials, or the package
            that signs is missing.
    """
    try:
        text = expanded(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BridgeConnectionError(f"credentials {file}: {error}") from None
    blocks = dict(_BLOCK.findall(text))
    token, seed = blocks.get("NATS USER JWT"), blocks.get("USER NKEY SEED")
    if not token or not seed:
        raise BridgeConnectionError(f"credentials {file}: there is no user JWT and NKEY seed in it")
    return {"jwt": token, "sig": _sign(seed, nonce.encode(), file)}


def _sign(seed: str, nonce: bytes, file: str) -> str:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise BridgeConnectionError(
            'credential files need the package cryptography: pip install "gym-loop[bridges]"'
        ) from None
    try:
        # Two bytes of prefix, the key's 32, two of checksum; base32 without padding.
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        key = Ed25519PrivateKey.from_private_bytes(raw[2:34])
    except ValueError as error:
        raise BridgeConnectionError(
            f"credentials {file}: the NKEY seed is damaged: {error}"
        ) from None
    return base64.urlsafe_b64encode(key.sign(nonce)).rstrip(b"=").decode()
