"""`create_model` over segmentation-models-pytorch, MONAI and the networks of the papers."""
