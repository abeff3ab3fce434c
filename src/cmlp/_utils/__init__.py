"""Helpers without knowledge of networks: validation, validated fields, thread counts."""
