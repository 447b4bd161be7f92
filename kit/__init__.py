"""The test kit for authors: the real engine under a pytest fixture."""
