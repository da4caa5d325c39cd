"""Short sketches of contents, by which near-duplicates are found without keeping the contents."""
