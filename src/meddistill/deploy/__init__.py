"""Taking a student out of the laboratory: prediction at the original size, programs for elsewhere."""
