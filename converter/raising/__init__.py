"""How loops count, read their sequences and write their outputs: what `raise-loops` reads off WHILE ops."""
