"""Published experiments: run again, and their tables compared row by row."""
