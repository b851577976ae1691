"""The stand-alone verifier of logs: `verify.py` runs anywhere with Python and `cryptography`, and imports nothing of this product."""
