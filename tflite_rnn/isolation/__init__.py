"""Reading model files of others in a process of its own: it may crash, hang or grow, and nothing else does.

TensorFlow, Keras and HDF5 read a file in a child process that has no access to modules in the current directory,
works in a private folder that is removed afterwards, and is killed when it takes too long or too much memory. What
comes back is data: names, messages, the bytes of an intermediate ``.tflite``, arrays.
"""

from __future__ import annotations

from tflite_rnn.isolation.description import FileSource
from tflite_rnn.isolation.limits import Limits
from tflite_rnn.isolation.source import IsolatedSource, Isolation, can_isolate, isolated

__all__ = ["FileSource", "IsolatedSource", "Isolation", "Limits", "can_isolate", "isolated"]
