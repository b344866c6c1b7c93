"""What the operating system and git are asked to do."""
