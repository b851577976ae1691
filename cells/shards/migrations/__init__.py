"""The schema `domicile` of a shard: forward-only files, applied by the owner (track "shard")."""
