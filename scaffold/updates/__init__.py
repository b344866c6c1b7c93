"""Projects brought up to a newer template, or to other answers."""
