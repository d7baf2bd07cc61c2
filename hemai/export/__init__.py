"""Trained networks for other programs: ONNX, torch.export, safetensors, and the Hugging Face Hub."""
