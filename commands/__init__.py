"""Use cases, the registry, policy and the one authorize()."""
