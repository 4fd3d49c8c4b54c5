"""Published losses as pure functions on channel-first N-D tensors, with a thin module for each."""
