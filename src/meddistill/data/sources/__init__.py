"""Layouts of data on disk, each with the cases it holds and the way to read them."""
