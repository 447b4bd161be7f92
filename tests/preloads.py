"""Imported by the process that programs are forked from: the hub's own commands, which each of them would import by itself otherwise."""

from commands.registries import load_own

load_own()
