"""What outputs say: to a client as JSON, to a person in words, and how bad that was; one file per task."""
