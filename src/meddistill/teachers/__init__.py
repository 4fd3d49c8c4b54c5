"""Teachers: anything that maps an image to logits, frozen and calibrated."""
