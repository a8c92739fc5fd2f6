"""Analyses of graphs, which change nothing."""
