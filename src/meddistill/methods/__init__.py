"""Ways to train a student, one file per paper."""
