"""Words as the user's shell takes them."""

import os


def join(words: list[str]) -> str:
    """A command line."""
    import shlex
    import subprocess

    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
