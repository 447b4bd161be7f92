"""What stops a benchmark."""


class BenchmarkError(RuntimeError):
    """A figure could not be taken honestly; the message is one sentence for the person at the terminal."""
