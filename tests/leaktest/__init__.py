"""The leak test: values of every kind, in every encoding, through every way out of a cell; what comes out is searched for them."""
