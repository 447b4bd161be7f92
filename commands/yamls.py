"""Reading the YAML of a policy: a key given twice is refused, and every key knows its line."""

import re
from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import yaml

MOST_KEYS: Final = 200_000
_MERGE: Final = "tag:yaml.org,2002:merge"


class PolicyError(Exception):
    """The policy cannot be used; the message names the place in the file and the fix."""


class Lines:
    """Where each key and list item of a policy stands."""

    def __init__(self, root: yaml.Node | None = None) -> None:
        self._known: Mapping[tuple[str, ...], int] = dict(islice(_walk(root), MOST_KEYS)) if root else {}
        if len(self._known) == MOST_KEYS:
            raise PolicyError(f"policy: has more than {MOST_KEYS:,} keys and values, aliases counted where they are used")

    def at(self, *path: str | int) -> int:
        """The line of what stands at this path, or of the nearest thing around it that is there; 0 for none."""
        names = tuple(map(str, path))
        return next((self._known[names[:end]] for end in range(len(names), 0, -1) if names[:end] in self._known), 0)

    def place(self, *path: str | int) -> str:
        """`line 7: ` before a sentence about what stands there, or nothing where that is unknown."""
        line = self.at(*path)
        return f"line {line}: " if line else ""


def read_yaml(body: str) -> tuple[dict[str, Any], Lines]:
    """The mapping and the lines of its keys; raises PolicyError for what is not YAML or not a mapping."""
    try:
        reader = _Reader(body)
        root = reader.get_single_node()
        lines = Lines(root)
        data = (reader.construct_document(root) if root else None) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = min(mark.line, body.count("\n")) + 1 if mark else "?"  # what misses its end is noticed behind the last line
        raise PolicyError(f"policy line {line}: not YAML: {getattr(error, 'problem', 'unreadable')}") from None
    except (ValueError, RecursionError):
        raise PolicyError("policy: not YAML: a date that does not exist, or too many brackets") from None
    if not isinstance(data, dict):
        raise PolicyError("policy: should be a mapping with keys such as profile, people, roles, groups and rules")
    return data, lines


_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# Written in C where PyYAML was built with it, as its wheels are: a policy of a thousand people is read in a moment.
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Reader(_Fast):  # type: ignore[misc]  # one of two classes, chosen when this is imported
    """Refuses a key given twice: YAML's usual readers keep the last one, and what stood before would silently be gone.

    A time such as 22:00 stays text: YAML 1.1 would read the number 1320, in base 60.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML wants a plain attribute of the class
        first: [
            (tag, re.compile(rf"(?![^:]*:[0-9])(?:{pattern.pattern})", pattern.flags) if tag in _NUMBERS else pattern)
            for tag, pattern in known
        ]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise PolicyError(f"policy line {key.start_mark.line + 1}: {key.value} is given twice")
                seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def _walk(node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Aliases are walked where they are used; YAML that refers to itself ends in a RecursionError."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key.start_mark.line + 1
            yield from _walk(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for n, one in enumerate(node.value):
            yield (*path, str(n)), one.start_mark.line + 1
            yield from _walk(one, (*path, str(n)))
