"""Trains stored runs again and checks that the results are bit-identical."""
