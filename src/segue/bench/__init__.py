"""Compare the speed of segue's indexes with other installed libraries on the same vectors."""
