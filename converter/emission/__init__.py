"""Writing TFLite ops: what importers, passes and the lowering share."""
