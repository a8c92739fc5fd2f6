"""Import sources as programs: one module per kind of source. Only this package of the compiler uses TensorFlow."""
