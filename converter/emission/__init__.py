"""Emission of TFLite ops, shared by importers, passes and lowering."""
