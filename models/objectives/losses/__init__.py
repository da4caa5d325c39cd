"""Losses, one file per task. Each is a sum over rows divided by the number of rows, so that shards add up."""
