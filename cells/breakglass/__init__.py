"""Break-glass: requests for access, their approval, certificates with proof. Nobody has access that stands (decision record 0019)."""
