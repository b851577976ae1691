"""The law as rows, evaluated: what may be transferred, what may be kept and handled where. Pure; docs/evaluation.md defines it."""
