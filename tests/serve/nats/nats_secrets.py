"""What nats-server needs to know its users: certificates, and an operator's JWTs and NKEYs."""

import base64
import binascii
import datetime
import ipaddress
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OPERATOR, ACCOUNT, USER, SEED = 14 << 3, 0, 20 << 3, 18 << 3
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
RAW_PRIVATE = (
    serialization.Encoding.Raw,
    serialization.PrivateFormat.Raw,
    serialization.NoEncryption(),
)


def certificate(directory: Path) -> str:
    """Write a certificate of 127.0.0.1 and its key; gives the lines of a configuration."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nowhere")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return f'tls {{ cert_file: "{directory}/cert.pem", key_file: "{directory}/key.pem" }}'


class NKey:
    """An Ed25519 key as NATS writes it."""

    def __init__(self, kind: int) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.public = _base32(bytes([kind]) + self.key.public_key().public_bytes(*RAW))
        head = bytes([SEED | kind >> 5, (kind & 31) << 3])
        self.seed = _base32(head + self.key.private_bytes(*RAW_PRIVATE))

    def token(self, subject: "NKey", kind: str, **claims: Any) -> str:
        """A JWT about another key."""
        body = {
            "jti": "x", "iat": 1, "iss": self.public, "name": kind, "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }  # fmt: skip
        parts = [json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}), json.dumps(body)]
        signed = ".".join(_base64(part.encode()) for part in parts)
        return f"{signed}.{_base64(self.key.sign(signed.encode()))}"


def credentials(directory: Path) -> tuple[str, Path]:
    """An operator with one account and one user: lines of a configuration, and the .creds file."""
    operator, account, user = NKey(OPERATOR), NKey(ACCOUNT), NKey(USER)
    unlimited = dict.fromkeys(["subs", "data", "payload", "imports", "exports", "conn", "leaf"], -1)
    account_token = operator.token(account, "account", limits={**unlimited, "wildcards": True})
    user_token = account.token(user, "user", subs=-1, data=-1, payload=-1)
    file = directory / "user.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    config = (
        f"operator: {operator.token(operator, 'operator')}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {account.public}: {account_token} }}"
    )
    return config, file


def _base32(data: bytes) -> str:
    check = binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data + check).rstrip(b"=").decode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
