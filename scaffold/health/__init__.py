"""Whether a project is as it should be."""
