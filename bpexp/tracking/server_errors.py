"""Says what to set where a server refuses every request: its address, the user or a certificate.

>>> from bpexp.tracking import server_errors
>>> server_errors.advice("the request failed with error code 404 != 200. Response body: ''")
'no MLflow server answers at this address; that of a server below a path ends in the path, as in \
https://host/mlflow'
"""

import re

_USER = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
_CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_ADDRESS = (
    "no MLflow server answers at this address; that of a server below a path ends in the path, as "
    "in https://host/mlflow"
)
_ADVICE = (
    (
        r"error code 401|^401 |401 Client Error",
        f"the server refuses the user or the password, or has got none; set {_USER}, or "
        "MLFLOW_TRACKING_TOKEN",
    ),
    (
        r"error code 403|^403 |403 Client Error|PERMISSION_DENIED",
        f"the user lacks the permission; ask for it, or set {_USER} of another user",
    ),
    (r"error code 404|error code 405|not in a valid JSON format", _ADDRESS),
    (
        r"(Hostname|IP address) mismatch",
        "the certificate of the server is for another host; use the name of that host in the "
        "address",
    ),
    (
        r"invalid path: |NO_CERTIFICATE_OR_CRL_FOUND|PEM lib",
        f"{_CERTIFICATE} or REQUESTS_CA_BUNDLE must name a file with a certificate",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        f"the certificate of the server is not trusted; set {_CERTIFICATE} to the file of this "
        "certificate, or of that of the authority that signed it",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|record layer failure",
        "the server does not encrypt; its address begins with http://",
    ),
    (
        r"'ignore_tls_verification' is true",
        f"only one of MLFLOW_TRACKING_INSECURE_TLS and {_CERTIFICATE} can be set",
    ),
)
"""Patterns of messages of MLflow, Requests and OpenSSL, and what they mean to a user."""


def advice(message: str) -> str:
    """What to do after an error of MLflow's client over HTTP; "" if its message says enough."""
    return next((text for pattern, text in _ADVICE if re.search(pattern, message)), "")


def without_markup(message: str) -> str:
    """A message on one line, without the tags of a page of HTML that a server answered with."""
    if re.search(r"<html\b", message, re.IGNORECASE):
        message = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", message, flags=re.DOTALL | re.I)
    return " ".join(message.split())
