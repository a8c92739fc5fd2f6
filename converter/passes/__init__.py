"""Rewritings of programs: one pass, one file; their order in `converter.passes.pipeline`."""
