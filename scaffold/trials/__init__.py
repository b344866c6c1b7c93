"""A template tried: many projects rendered, checked and trained."""
