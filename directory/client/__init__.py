"""The directory as gateways and cells hold it: in process, Valkey as second level, the directory itself. Never reaches a database."""
