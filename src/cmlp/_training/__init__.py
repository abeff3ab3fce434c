"""Training: arguments and inputs, the loop over epochs, evaluation, checkpoints."""
