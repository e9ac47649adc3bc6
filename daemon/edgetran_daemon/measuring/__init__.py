"""Times and energies of models on this board, with a verdict; modelled when it is emulated."""
