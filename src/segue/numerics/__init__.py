"""Dense linear algebra that several folders share."""
