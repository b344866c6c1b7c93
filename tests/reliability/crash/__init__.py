"""The crash harness: rendered projects that are killed, damaged and starved, and must end as if nothing had happened."""
