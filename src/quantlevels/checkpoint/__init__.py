"""What a checkpoint holds: containers read by their headers into one record of tensors. No quantizer is known here."""
