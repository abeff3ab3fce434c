"""What a network is, without what it does: layers, parameters, optimizer state."""
