"""Trained recurrent networks that the compiler is demonstrated on, one file per network.

Nothing here is part of the distribution. The weights are fetched from the package index into a cache, never
installed and never committed.
"""
