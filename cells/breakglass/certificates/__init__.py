"""Certificates of break-glass: what they state, who signs them, what makes one hold."""
