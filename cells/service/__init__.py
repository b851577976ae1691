"""The cell service: follows the feed into its shards' fences, tells guards, signs people up, decides for jobs, keeps events."""
