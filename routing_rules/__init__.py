"""Pure rules: facts in, decision out. No I/O, no clock; of the rest of the house only `foundation.words` is imported."""
