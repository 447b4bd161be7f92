"""Reading the Dockerfile and compose.yaml, and carrying the build stage out in a clean folder: no container engine is needed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from tests.rules.measures import ROOT, tracked_files

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::([?-])([^}]*))?\}")


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str

    @property
    def sources(self) -> list[str]:
        """What a COPY takes from the checkout; nothing for one that takes from another stage."""
        *sources, _ = self.rest.split()
        return [] if sources[0].startswith("--from=") else [one.removesuffix("/") for one in sources]

    @property
    def target(self) -> str:
        return self.rest.split()[-1]


@dataclass
class Stage:
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def rests(self, word: str) -> list[str]:
        return [one.rest for one in self.instructions if one.word == word]


def stages() -> list[Stage]:
    """The Dockerfile's stages in order."""
    text = re.sub(r"\\\n", " ", "".join(line for line in _lines("Dockerfile") if not line.startswith("#")))
    found: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append(Stage(rest.split()[0]))
        else:
            found[-1].instructions.append(Instruction(word, " ".join(rest.split())))
    return found


def environment_of(stage: Stage) -> dict[str, str]:
    return dict(word.split("=", 1) for rest in stage.rests("ENV") for word in rest.split())


def compose(given: Mapping[str, str]) -> dict[str, Any]:
    """compose.yaml with `${NAME}`, `${NAME:-default}` and `${NAME:?message}` filled in from `given`; raises KeyError for a missing one."""

    def value(match: re.Match[str]) -> str:
        name, sign, rest = match.groups()
        if name is None:
            return "$"
        return given.get(name) or (rest if sign == "-" else given[name])

    def filled(data: Any) -> Any:
        if isinstance(data, str):
            return _VARIABLE.sub(value, data)
        if isinstance(data, dict):
            return {key: filled(one) for key, one in data.items()}
        return [filled(one) for one in data] if isinstance(data, list) else data

    made: dict[str, Any] = filled(yaml.safe_load((ROOT / "compose.yaml").read_text()))
    return made


def variables_of_compose() -> set[str]:
    return {match[1] for match in _VARIABLE.finditer((ROOT / "compose.yaml").read_text()) if match[1]}


def sent_to_build() -> list[Path]:
    """The tracked files that .dockerignore lets into the build."""
    rules = [line.strip() for line in _lines(".dockerignore") if line.strip() and not line.startswith("#")]
    kept = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    return [path for path in tracked_files() if any(path == Path(one) or Path(one) in path.parents for one in kept)]


def build(folder: Path, *, linked: bool) -> Path:
    """Carries out the first stage below `folder`; returns what is `/app` in the image.

    `linked` puts the pinned packages of this environment, and its pip, in place of downloading the same versions.
    """
    sent, workdir = sent_to_build(), folder
    for one in stages()[0].instructions:
        if one.word == "WORKDIR":
            workdir = folder / one.rest.lstrip("/")
            workdir.mkdir(parents=True)
        elif one.word == "COPY":
            for source in one.sources:
                _copy(source, workdir / one.target, sent, several=len(one.sources) > 1 or one.target.endswith("/"))
        elif one.word == "RUN" and linked and one.rest == "python -m venv .venv":
            _run(f"{one.rest} --without-pip", workdir)
        elif one.word == "RUN" and linked and "-r requirements/runtime.txt" in one.rest:
            _link_pinned(workdir)
        elif one.word == "RUN":
            _run(one.rest, workdir)
    return workdir


def _copy(source: str, target: Path, sent: list[Path], *, several: bool) -> None:
    if Path(source) in sent:
        goal = target / Path(source).name if several else target
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / source, goal)
        return
    below = [path for path in sent if Path(source) in path.parents]
    if not below:
        raise FileNotFoundError(f"COPY {source}: nothing of that name reaches the build")
    for path in below:
        goal = target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, goal)


def _run(command: str, workdir: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("COUNTERSIGN_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        ["sh", "-c", command], cwd=workdir, env=plain | {"PATH": path}, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise AssertionError(f"RUN {command}\n{done.stdout}\n{done.stderr}")


def _link_pinned(workdir: Path) -> None:
    """Links every package that runtime.txt pins, pip, and nothing else: what is missing there is missing here."""
    (site,) = (workdir / ".venv" / "lib").glob("python*/site-packages")
    for pin in (*pinned(), Requirement("pip")):
        found = distribution(pin.name)
        if str(found.version) not in pin.specifier:
            raise AssertionError(f"{pin} is pinned and {found.version} is installed; run: make setup")
        for top in sorted({file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}):
            link = site / top
            link.unlink(missing_ok=True)
            link.symlink_to(Path(str(found.locate_file(top))))
    pip = workdir / ".venv/bin/pip"
    pip.write_text('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
    pip.chmod(0o755)


def pinned() -> list[Requirement]:
    """What runtime.txt pins for this Python and this system."""
    lines = [line.split(" \\")[0].strip() for line in _lines("requirements/runtime.txt") if re.match(r"[A-Za-z0-9]", line)]
    found = [Requirement(line) for line in lines]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def _lines(name: str) -> list[str]:
    return (ROOT / name).read_text().splitlines(keepends=True)
