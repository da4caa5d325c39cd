"""SeaweedFS behind mutual TLS: master, volumes and filer, whose own ports ask for no password, answer to the holder of
the installation's certificate alone. The S3 gateway stays as it is: its requests are signed."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from mlratchet.infra.machine.atomic import write_private

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ratchet stack")])
BEGINS, ENDS = datetime.datetime(2000, 1, 1), datetime.datetime(2120, 1, 1)  # whatever the clock says: it is ours alone


def secure_store(home: Path) -> None:
    """Write `security.toml`, and `tls/stack.crt` and `tls/stack.key` unless they are there; for the owner alone."""
    certificate, key = home / "tls" / "stack.crt", home / "tls" / "stack.key"
    if not (certificate.is_file() and key.is_file()):
        certificate.parent.mkdir(mode=0o700, exist_ok=True)
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(key, pem)
        write_private(certificate, self_signed(made).public_bytes(Encoding.PEM))
    write_private(home / "security.toml", security(certificate, key))


def self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Authority, server and client in one: there is one process, and nobody else is to be let in."""
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINS)
        .not_valid_after(ENDS)
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def security(certificate: Path, key: Path) -> str:
    """`security.toml`: `weed scaffold -config=security` explains each line."""
    pair = f'cert = "{certificate}"\nkey = "{key}"\n'
    parts = [f'[grpc]\nca = "{certificate}"\n']
    parts += [f"[grpc.{server}]\n{pair}" for server in ("volume", "master", "filer", "s3", "client")]
    parts += [f'[https.{server}]\n{pair}ca = "{certificate}"\n' for server in ("volume", "master", "filer")]
    parts.append(f'[https.client]\nenabled = true\n{pair}ca = "{certificate}"\n')
    return "\n".join(parts)
