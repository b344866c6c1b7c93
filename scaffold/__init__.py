"""Answer a few questions, own a PyTorch training project."""

__version__ = "0.4.0"
