"""Runbooks: scripts in a folder, each with a YAML file that makes it a command, run exactly as they were when they were loaded."""

from integrations.processes.declarations import RunbookError
from integrations.processes.runbooks import load_runbooks
from integrations.processes.steps import run_script, run_script_again

__all__ = ["RunbookError", "load_runbooks", "run_script", "run_script_again"]
