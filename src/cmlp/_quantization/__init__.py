"""Quantization of trained networks to 8-bit integers."""
