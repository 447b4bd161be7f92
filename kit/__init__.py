"""The test kit for command authors: the fixture `bot` runs the real engine on an embedded Postgres. See docs/authors."""
