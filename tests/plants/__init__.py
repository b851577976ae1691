"""Mistakes that a load must find: the product's own processes, each started with one part that is wrong. Nothing of this is shipped."""
