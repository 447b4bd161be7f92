"""On what a command is carried out: the same command with the same required arguments has the same target."""

import hashlib
from collections.abc import Mapping
from typing import Any

from countersign.canonical import canonical
from countersign.commands import Command


def target_of(command: Command, arguments: Mapping[str, Any]) -> str:
    """The target as 32 hexadecimal digits. Secrets are no part of it: a key that is rotated is still the same key."""
    named = {one.name: arguments.get(one.name) for one in command.schema.parameters if one.required and not one.secret}
    return hashlib.sha256(canonical([command.name, named])).hexdigest()[:32]
