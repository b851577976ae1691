"""Who is locked out of break-glass, as each cell tells it, and its spreading to the others."""
