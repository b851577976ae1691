"""Published rules: checked at the door, kept by digest, announced through the feed."""
