"""What a run comes to: figures, one page, one document, a few lines on the terminal."""
