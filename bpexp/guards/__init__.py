"""Limits of files that are read, and passwords that are neither shown nor stored."""
