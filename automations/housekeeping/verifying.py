"""verifying: who asked for it gets the record verified from its first event on, by the program that shares no code with the writer."""

import asyncio
import json
import logging
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from store.audits import AuditEvent, record
from store.verifications import LONGEST, end_check, take_check, verifier

_log = logging.getLogger(__name__)
LOOK_SECONDS: Final = 2.0


async def verify_always(services: Services) -> None:
    """Looks every two seconds, until cancelled, whether somebody asked."""
    while True:
        try:
            await verify_once(services)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("verifying is interrupted: %s", type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


async def verify_once(services: Services) -> bool:
    """Makes one verification that was asked for; False when none was."""
    async with services.transaction() as session:
        check = await take_check(session)
    if check is None:
        return False
    rows, blocks, problems = await _verified(services)
    if problems:
        _log.error("the record is not as it was written: %s", problems[0])
    async with services.transaction() as session:
        await end_check(session, check, rows=rows, blocks=blocks, problems=problems)
        await record(session, [_event(check, rows, blocks, problems)])
    return True


async def _verified(services: Services) -> tuple[int, int, list[str]]:
    """How many events and blocks there are, and what is wrong. A process of its own: it computes for a long time."""
    words, environment = verifier(services.settings, services.settings.database_url)
    process = await asyncio.create_subprocess_exec(
        "nice", *words, "--json", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LONGEST):
            output, trouble = await process.communicate()
    except TimeoutError:
        return 0, 0, [f"it took longer than {LONGEST:g} s and was ended; run: countersign audit verify"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        report = json.loads(output)
    except ValueError:
        return 0, 0, [f"it could not be verified: {(trouble.decode(errors='replace').strip().splitlines() or ['no report'])[-1]}"]
    return report["rows"], report["blocks"], list(report["problems"])


def _event(check: UUID, rows: int, blocks: int, problems: list[str]) -> AuditEvent:
    detail = {"check": str(check), "rows": rows, "blocks": blocks, "problems": len(problems)}
    return AuditEvent("audit:verified", "countersign", None, detail | ({"first": problems[0][:500]} if problems else {}))
