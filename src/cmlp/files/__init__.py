"""Networks in files: each format as a header and named arrays, out of and into a file."""
