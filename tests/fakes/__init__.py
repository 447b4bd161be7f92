"""Stand-ins for outside systems, each behaving as the real one is documented to."""
