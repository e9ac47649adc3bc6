"""What a design will cost on a board, foretold from few measured ones, with intervals."""
