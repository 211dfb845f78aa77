"""Pre-training and task objectives, one a file, each with its source."""
