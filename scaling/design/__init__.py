"""Which runs to train so that a law will say most: designs, and what to expect of them."""

STUDIES = 800  # simulated for each design
DECADES = 3.0  # from the budget down to the cheapest run
BUDGETS, SIZES, SPREADS = (3, 5), (5, 7), (2.0, 4.0)  # of the IsoFLOP grids that are compared
