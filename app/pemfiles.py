"""What is wrong with a PEM file of certificates or of a private key, before a broker has to say so in fewer words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LARGEST: Final = 4 << 20  # bytes: the authorities of a whole operating system are a quarter of that
_JKS: Final = b"\xfe\xed\xfe\xed"
_PKCS12: Final = "openssl pkcs12 -in {store} -out {store}.pem{keys}, then ssl.{kind}.location={store}.pem, .type=PEM"
_KEYTOOL: Final = "keytool -importkeystore -srckeystore {store} -destkeystore {p12} -deststoretype PKCS12; then "


def other_store(path: Path, kind: str) -> tuple[str, str]:
    """Say what a store is that is no PEM, and the commands that make one of it; ``kind``: truststore or keystore."""
    with path.open("rb") as file:
        java = file.read(4) == _JKS
    store = path.name
    keys = " -nokeys" if kind == "truststore" else " (the password it asks for becomes ssl.key.password)"
    if not java:
        return "is a PKCS12 store: only PEM is read", _PKCS12.format(store=store, kind=kind, keys=keys)
    p12 = f"{store}.p12"
    cure = _KEYTOOL.format(store=store, p12=p12) + _PKCS12.format(store=p12, kind=kind, keys=keys)
    return "is a JKS store: only PEM is read", cure


def authority_problem(path: Path) -> tuple[str, str]:
    """Say what is wrong with a file of authorities, and what to do; empty words when nothing is."""
    found = _certificates(path)
    if not found:
        return "holds no certificate that can be read", "it is to hold the authority that signs the brokers' ones"
    if all(_expired(each) for each in found):
        return f"holds certificates that have expired, {_day(found[0])}", "ask the cluster's operator for the new one"
    return "", ""


def login_problem(path: Path, key_path: Path, password: str) -> tuple[str, str]:
    """Say what is wrong with a certificate and its private key, and what to do; empty words when nothing is."""
    found = _certificates(path)
    if not found:
        return "holds no certificate that can be read", "it is to hold our certificate, with those that signed it"
    if _expired(found[0]):
        return f"holds a certificate that has expired, {_day(found[0])}", "have it renewed by who issued it"
    if found[0].not_valid_before_utc > datetime.now(UTC):
        return "holds a certificate that is not valid yet", "is this machine's clock right?"
    return _key_problem(key_path.read_bytes()[:LARGEST], password, found[0])


def _key_problem(content: bytes, password: str, certificate: x509.Certificate) -> tuple[str, str]:
    if b"PRIVATE KEY-----" not in content:
        return "holds no private key", "put it into the same file, before the certificates"
    try:
        key = load_pem_private_key(content, password.encode() or None)
    except TypeError:
        if b"ENCRYPTED" in content:
            return "holds a private key under a password", "set ssl.key.password"
        return "holds a private key that is under no password", "remove ssl.key.password"
    except (ValueError, UnsupportedAlgorithm):
        return "holds a private key that cannot be read", "is ssl.key.password the right one, and the file whole?"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return "holds a private key of another certificate", "the first certificate must be the private key's own"
    return "", ""


def _certificates(path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes()[:LARGEST])
    except (OSError, ValueError):
        return ()


def _expired(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc < datetime.now(UTC)


def _day(certificate: x509.Certificate) -> str:
    return f"on {certificate.not_valid_after_utc:%Y-%m-%d}"
