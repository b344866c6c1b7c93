"""From answers to the files of a project."""
