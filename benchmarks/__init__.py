"""Each published number, by the script that made it: `python -m benchmarks` runs them all."""
