"""The guard: what a product service mounts in front of itself, so that only decided requests under the current epoch reach it.

`middleware.Guard` stands before an ASGI application, `keeper.EpochKeeper` keeps epochs and lease true against the cell service,
`client.CellService` is the product service's way to its cell: records, sign-up, decisions for jobs.
"""
