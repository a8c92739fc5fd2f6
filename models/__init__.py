"""Real trained recurrent networks: what the compiler is shown to work on, one file per network.

Nothing here is part of the distribution. The weights are fetched from the package index into a cache, never
installed and never committed.
"""
