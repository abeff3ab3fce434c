"""Benchmarks of cmlp against its peers; run with ``python -m bench``."""
