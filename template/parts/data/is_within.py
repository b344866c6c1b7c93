def is_within(folder: str, other: str) -> bool:
    """Whether a folder is another one or lies in it, wherever links lead."""
    real = os.path.realpath(other)
    return os.path.commonpath([os.path.realpath(folder), real]) == real
