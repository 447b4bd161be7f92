"""`python -m bot.cli` is `countersign`."""

from . import main

main()
