"""A log's entries on their way out: to files and HTTP collectors, as they are or as OCSF events."""
