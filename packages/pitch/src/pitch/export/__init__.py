"""The network as a file that runs without this package: ONNX, TorchScript, `torch.export`."""
