"""The region's second level of placements: `level` reads and runs it, `filling` and `carrying` keep it true, `valkey` is the store.

`docs/decisions/0003-directory-clients.md` says why nothing stale is served.
"""
