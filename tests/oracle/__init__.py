"""A second implementation of docs/evaluation.md, slow and plain, and the questions that compare it with the engine."""
