"""Readers of the files that teachers come in; each gives a network and what the file says about it.

None of them runs code from a file. Weights are read as tensors alone. A program (TorchScript, torch.export,
ONNX) is looked through before it is loaded: it may compute with tensors and do nothing else.
"""
