"""Passes over programs, one per file; `converter.passes.pipeline` has their order."""
