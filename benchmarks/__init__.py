"""Timings, as ratios measured side by side in one run: absolute times depend on the machine, ratios less so."""
