"""Groups from elsewhere: which user group or directory group is which group here, and departments, which are groups of groups."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from .rules import Part

_USER_GROUP: Final = re.compile(r"S[A-Z0-9]{2,20}\Z")
Departments = Mapping[str, tuple[str, ...]]


class DirectoryEntry(Part):
    """`groups` says which group there is which group here: for Slack by a user group's id, for SCIM by display name,
    external id or id, for OIDC by what the ID token says."""

    groups: Mapping[str, str] = {}


def with_departments(groups: frozenset[str], departments: Departments) -> frozenset[str]:
    """These groups and the departments that they belong to."""
    return groups | {name for name, members in departments.items() if not groups.isdisjoint(members)}


def department_problems(departments: Departments, groups: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with departments, each with the department's name; `groups` are those that policy defines, if it defines any."""
    for name, members in departments.items():
        if not members:
            yield name, f"departments.{name} has no groups"
        for one in members:
            if one in departments:
                yield name, f"departments.{name} names the department {one!r}; a department holds groups, one level and no more"
            elif groups and one not in groups:
                yield name, f"departments.{name} names the group {one!r}, which groups does not define"


def directory_problems(directories: Mapping[Any, DirectoryEntry], groups: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with directories, each with the directory's name."""
    for name, entry in directories.items():
        for theirs, ours in entry.groups.items():
            if name == "slack" and not _USER_GROUP.match(theirs):
                yield name, f"directories.slack.groups: {theirs!r} should be the id of a user group such as S0614TZR7: names are not kept"
            if groups and ours not in groups:
                yield name, f"directories.{name}.groups names the group {ours!r}, which groups does not define"


def fed_groups(directories: Mapping[Any, DirectoryEntry]) -> set[str]:
    """The groups whose members may come from elsewhere."""
    return {ours for entry in directories.values() for ours in entry.groups.values()}
