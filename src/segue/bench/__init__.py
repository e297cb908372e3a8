"""Searches raced against each other on the same vectors: ours, and the other libraries that are installed."""
