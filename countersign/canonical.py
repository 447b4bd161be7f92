"""Canonical JSON: one value, one sequence of bytes, so that a digest means the same on every machine."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; raises ValueError for NaN, infinities and what JSON cannot hold."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except TypeError as error:
        raise ValueError(f"not canonical JSON: {error}") from None


def digest_of(value: Any) -> str:
    """SHA-256 over the canonical bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()
