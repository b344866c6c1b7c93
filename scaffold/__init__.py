"""Answer a few questions, own a PyTorch training project."""

__version__ = "0.5.2"
