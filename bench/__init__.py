"""How fast torch-scaffold and the code that it writes are: one script for each subject, `python -m bench.<subject>`."""
