"""`countersign up`, executed as `python -m bot.cli.up`."""
