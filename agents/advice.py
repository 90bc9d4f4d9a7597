"""Why a connection to a broker does not come about, in a sentence for whoever can mend it. No secret is ever in it."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from aiokafka import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

# OpenSSL's X509_V_ERR_*: verify(1).
_NOT_YET, _EXPIRED = {9}, {10}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_OTHER_HOST = {62, 64}

_CERTIFICATE: Final = (
    (_EXPIRED, "has expired: the cluster's operator must renew it (is this machine's clock right?)"),
    (_NOT_YET, "is not valid yet: is this machine's clock right?"),
    (_UNKNOWN_AUTHORITY, "is signed by an authority that is not known here: name it by ssl.truststore.location"),
    (_OTHER_HOST, "is for another host: is the address right? It must be one that the certificate names"),
)
_OURS_REFUSED: Final = "it does not accept our certificate"
_ALERTS: Final = (
    ("BAD_CERTIFICATE", f"{_OURS_REFUSED}, or we sent none: name it in the client file (ssl.keystore.location)"),
    ("CERTIFICATE_REQUIRED", "it wants a certificate of us: name it in the client file (ssl.keystore.location)"),
    ("CERTIFICATE_EXPIRED", f"{_OURS_REFUSED}: it has expired; renew what ssl.keystore.location names"),
    ("CERTIFICATE", f"{_OURS_REFUSED}: has it expired, and does the cluster know the authority that signed it?"),
    ("UNKNOWN_CA", f"{_OURS_REFUSED}: it does not know the authority that signed it"),
    ("WRONG_VERSION", "it does not speak TLS at this port: is the port right, and security.protocol?"),
    ("RECORD_LAYER", "it does not speak TLS at this port: is the port right, and security.protocol?"),
)
_TLS_ALERT: Final = "an answer of 352518912 bytes"  # 15 03 03 00, the beginning of an alert, taken for a size


def advice(error: BaseException | None, *, tls: bool) -> str:
    """Say why and what to do; empty where nobody answers at all. ``tls``: whether we spoke it."""
    for each in _chain(error):
        words = _of(each, tls=tls)
        if words:
            return words
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error's causes, the first one first: the others are what became of it."""
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(found)


def _of(error: BaseException, *, tls: bool) -> str:
    words = ""
    match error:
        case ssl.SSLCertVerificationError():
            known = (words for codes, words in _CERTIFICATE if error.verify_code in codes)
            words = f"its certificate {next(known, f'is not trusted: {error.verify_message}')}"
        case ssl.SSLError():
            reason = error.reason or "no reason given"
            words = next((words for part, words in _ALERTS if part in reason), f"TLS failed: {reason}")
        case errors.SaslAuthenticationFailed() | errors.AuthenticationFailedError():
            said = str(error).partition(": ")[2].removeprefix("Authentication failed: ")
            words = (
                f"it refused the login ({said or 'in no words'}): are user name and password in the client file right "
                "(sasl.jaas.config), for this cluster, and still valid?"
            )
        case errors.UnsupportedSaslMechanismError():
            words = "it does not take our sasl.mechanism: ask its operator which it takes"
        case errors.IllegalSaslStateError():
            words = "it takes no logins at this port: is the port right, and security.protocol?"
        case socket.gaierror():
            words = "its name is not known to this machine: is the address right?"
        case ConnectionResetError() if tls:
            words = "it closed the connection when TLS began: is the port right, and security.protocol?"
        case _ if not tls and _TLS_ALERT in str(error):
            words = "it speaks TLS at this port, and we did not: set security.protocol in its client file"
    return words
