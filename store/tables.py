"""All tables in one place, for migrations."""

import importlib
import pkgutil

import store

from .bases import Base

# A list of the modules was forgotten for two tables, which a migration made from the models would have dropped.
for _found in pkgutil.iter_modules(store.__path__):
    if not _found.ispkg:
        importlib.import_module(f"store.{_found.name}")

metadata = Base.metadata

__all__ = ["metadata"]
