"""What the demo starts with: releases v1 to v3 of two services, one release that is broken, and the runbooks for this very folder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .sites import PAGE, Env, Site

SERVICES: Final = ("api", "web")
BROKEN: Final = "broken"
_COLOURS: Final = {"v1": "#5b6472", "v2": "#1f5fbf", "v3": "#1b7a4b"}
_RUNBOOKS: Final = Path(__file__).parents[1] / "runbooks"
_SITE_LINE: Final = "  SITE: /srv/site\n"
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{service} {version}</title>
<style>
  body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; text-align: center; color: #fff; background: {colour};
    font: 1.25rem/1.5 system-ui, sans-serif; }}
  h1 {{ margin: 0; font-size: 4rem; }}
</style>
<h1>{version}</h1>
<p>This is {service}.</p>
</html>
"""


def prepare(site: Site) -> None:
    """Makes what is missing under the site's folder and changes nothing that is there."""
    for service in SERVICES:
        for version, colour in _COLOURS.items():
            _build(site, service, version, {PAGE: _PAGE.format(service=service, version=version, colour=colour)})
        _build(site, service, BROKEN, {"build.log": "The build stopped before it wrote the page.\n"})
        for env in Env:
            if site.current(service, env) is None:
                site.point(service, env, "v1")
    _lay_out_runbooks(site.root)


def _build(site: Site, service: str, version: str, files: Mapping[str, str]) -> None:
    folder = site.root / "releases" / service / version
    if folder.is_dir():
        return
    # Under a name that is no version until it is whole, so that a demo which was stopped half way starts well the next time.
    beside = folder.with_name(f".{version}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, text in files.items():
        (beside / name).write_text(text, encoding="utf-8")
    beside.rename(folder)


def _lay_out_runbooks(root: Path) -> None:
    """Copies the runbooks that lie beside this package, with the site's folder written into them."""
    folder = root / "runbooks"
    folder.mkdir(exist_ok=True)
    for source in sorted(_RUNBOOKS.iterdir()) if _RUNBOOKS.is_dir() else ():
        target = folder / source.name
        if not target.exists():
            text = source.read_text(encoding="utf-8").replace(_SITE_LINE, f"  SITE: {json.dumps(str(root.resolve()))}\n")
            target.write_text(text, encoding="utf-8")
            shutil.copymode(source, target)
