"""Background work: the only code that acts on the world."""
