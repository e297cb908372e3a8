"""Metrics, and the evaluation of a recommender on held-out interactions."""
