"""The edge in front of product services, and the operator's surfaces."""
