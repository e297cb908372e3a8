"""Events: what a user did, and the stores that keep it."""
