"""Benchmarks that the package includes: ``cmlp bench``, and what ``python -m bench`` shares."""
