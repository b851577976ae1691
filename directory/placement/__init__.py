"""Where each subject's home is: placements, their states, history and lookup keys."""
