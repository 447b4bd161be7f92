"""That an event is in a block: its place there, and the digests that lead from its leaf to the root that was signed (RFC 6962)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from .audits import AuditBlockRow, AuditEventRow, AuditLeafRow
from .databases import ReadSession
from .sealing import Block, block_of, merkle_root


@dataclass(frozen=True)
class Inclusion:
    """`path` goes from the leaf to the root: each digest with the side on which it stands, `left` or `right`."""

    block: Block
    position: int
    leaf: bytes
    path: tuple[tuple[str, bytes], ...]


async def find_event(session: ReadSession, event_id: UUID) -> AuditEventRow | None:
    """One event as it is stored."""
    return await session.get(AuditEventRow, event_id)


async def find_events(session: ReadSession, run_id: UUID) -> Sequence[AuditEventRow]:
    """Everything recorded about one run as it is stored, oldest first."""
    query = select(AuditEventRow).where(AuditEventRow.run_id == run_id).order_by(AuditEventRow.at_us, AuditEventRow.seq)
    return (await session.scalars(query)).all()


async def find_inclusions(session: ReadSession, event_ids: Iterable[UUID]) -> Mapping[UUID, Inclusion]:
    """Where these events are sealed; those that no block holds yet are left out."""
    placed = (await session.scalars(select(AuditLeafRow).where(AuditLeafRow.event_id.in_(list(event_ids))))).all()
    numbers = {one.block for one in placed}
    blocks = {one.n: block_of(one) for one in await session.scalars(select(AuditBlockRow).where(AuditBlockRow.n.in_(numbers)))}
    leaves: dict[int, list[bytes]] = {n: [] for n in blocks}
    query = select(AuditLeafRow.block, AuditLeafRow.leaf).where(AuditLeafRow.block.in_(numbers))
    for n, leaf in await session.execute(query.order_by(AuditLeafRow.block, AuditLeafRow.position)):
        leaves[n].append(leaf)
    return {
        one.event_id: Inclusion(blocks[one.block], one.position, one.leaf, audit_path(leaves[one.block], one.position))
        for one in placed
        if one.block in blocks
    }


def audit_path(leaves: Sequence[bytes], position: int) -> tuple[tuple[str, bytes], ...]:
    """The audit path of RFC 6962 section 2.1.1, for a position below the number of leaves."""
    if len(leaves) == 1:
        return ()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if position < split:
        return (*audit_path(leaves[:split], position), ("right", merkle_root(leaves[split:])))
    return (*audit_path(leaves[split:], position - split), ("left", merkle_root(leaves[:split])))
