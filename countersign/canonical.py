"""Canonical JSON: one value, one sequence of bytes, so that a digest means the same on every machine."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; a whole number has no fraction, because jsonb and browsers do not keep 1.0 and 1 apart.

    Raises ValueError for NaN, infinities, keys that are not text, lone surrogates and whatever else JSON cannot hold.
    """
    try:
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not canonical JSON: {error}") from None


def digest_of(value: Any) -> str:
    """SHA-256 over the canonical bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a key is not text")
        return {key: _plain(one) for key, one in value.items()}
    return value
