"""The directory service: knows where, never what. Holds random ids, keyed hashes, cells and epochs; no personal data in the clear."""
