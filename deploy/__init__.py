"""Ways to run domicile; `local` is the embedded stack of `domicile up`."""
