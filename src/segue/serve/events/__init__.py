"""User events, and the stores that keep them."""
