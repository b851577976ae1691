"""Records: reads and writes of rows under contracts, in the PostgREST dialect, each bound to one subject and under the fence."""
