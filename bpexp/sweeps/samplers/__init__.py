"""Which configurations a sweep tries."""
