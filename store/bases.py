"""What every table shares: the declarative base, short names for column types, and ids."""

import os
import time
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, datetime: DateTime(timezone=True), dict[str, Any]: JSONB, list[Any]: JSONB}


Stamp = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.countersign_now())]
Identifier = Annotated[UUID, mapped_column(primary_key=True)]


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): milliseconds since 1970, then 74 random bits; made often enough for its price to matter."""
    random = int.from_bytes(os.urandom(10))
    stamped = (time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF) << 80 | random
    return UUID(int=stamped & ~(0xF000 << 64 | 0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48)
