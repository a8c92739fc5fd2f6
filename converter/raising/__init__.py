"""Analyse WHILE ops for `raise-loops`: how they count, read their sequences and write their outputs."""
