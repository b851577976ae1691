"""The scanner: a second, different detector over every string that egress keeps. Pure: bytes in, findings out."""
