"""Replaces secrets of the environment in texts that are written down."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

MASK = "***"


def without_secrets(text: str) -> str:
    """Return a text with the secrets of the environment replaced by `***`.

    These are the values, of at least 8 characters, of variables whose names suggest a secret, such
    as HF_TOKEN, and passwords in addresses: in the text itself, and those in variables.
    """
    found = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and not _NAME_OF_A_PLACE.search(name):
            found |= {value, *value.splitlines()}  # in a diff each line is prefixed
        for password in _PASSWORD.findall(value):
            found |= {password[1], unquote(password[1])}
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    for secret in sorted({value.strip() for value in found}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text


_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|PRIVATE|CREDENTIAL|API_?KEY|ACCESS_?KEY"
    r"|_KEY$|(^|_)(AUTH|AUTHORIZATION|DSN|PASS|PAT|PW)(_|$)|_PWD$",
    re.IGNORECASE,
)
_NAME_OF_A_PLACE = re.compile(r"_(DIR|FILE|PATH|SOCK)$", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:\s\"']*):([^/@\s\"']*)@")
_PARAMETER = re.compile(r"([?&](?:password|passwd|token|secret|key)=)[^&\s\"']+", re.IGNORECASE)
_SHORTEST_SECRET = 8
