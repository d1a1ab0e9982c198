"""How quantizers pack weights at levels into tensors."""
