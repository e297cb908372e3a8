"""The recommender: ids and frames outside, rows and vectors inside."""
