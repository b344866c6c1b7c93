"""What a model is made of: `scaffold inspect`, and the facts of the catalogue."""
