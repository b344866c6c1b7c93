"""How questions are put to a person."""
