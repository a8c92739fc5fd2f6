"""Sources to programs: one module per kind of source. Only here does the compiler touch TensorFlow."""
