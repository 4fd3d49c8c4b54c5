"""Sources, cases, splits, transforms, the phantom and the inspector."""
