"""The runtimes a model is proven on: three interpreters, each with and without its default delegate; and two more
that run only models made for them, LiteRT's CompiledModel and TensorFlow Lite for Microcontrollers.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Final

from converter.errors import OptionError

TFLITE_RUNTIME: Final = "tflite-runtime"
AI_EDGE_LITERT: Final = "ai-edge-litert"
TF_LITE: Final = "tf.lite"
COMPILED_MODEL: Final = "litert-compiled"
MICRO: Final = "tflm"

_PACKAGES: Final = {
    TFLITE_RUNTIME: "tflite_runtime",
    AI_EDGE_LITERT: "ai_edge_litert",
    TF_LITE: "tensorflow",
    COMPILED_MODEL: "ai_edge_litert",
    MICRO: "tflite_micro",
}
# TensorFlow is one package under several names of distributions; the first one present gives the version.
_DISTRIBUTIONS: Final = {
    TFLITE_RUNTIME: ("tflite-runtime", "tflite-runtime-nightly"),
    AI_EDGE_LITERT: ("ai-edge-litert", "ai-edge-litert-nightly"),
    TF_LITE: ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"),
    COMPILED_MODEL: ("ai-edge-litert", "ai-edge-litert-nightly"),
    MICRO: ("tflite-micro",),
}
INTERPRETERS: Final = tuple(_PACKAGES)
_DELEGATING: Final = (TFLITE_RUNTIME, AI_EDGE_LITERT, TF_LITE)

UNKNOWN_VERSION: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Runtime:
    """An interpreter, with its default delegate (XNNPACK) or without any.

    Raises:
        OptionError: ``interpreter`` is not one of `INTERPRETERS`.
    """

    interpreter: str
    delegate: bool = True

    def __post_init__(self) -> None:
        if self.interpreter not in INTERPRETERS:
            raise OptionError(f"unknown interpreter {self.interpreter!r}; choose from {', '.join(INTERPRETERS)}")

    @property
    def label(self) -> str:
        """The name people read: ``ai-edge-litert`` or ``ai-edge-litert, no delegate``."""
        if self.delegate or self.interpreter not in _DELEGATING:
            return self.interpreter
        return f"{self.interpreter}, no delegate"

    def __str__(self) -> str:
        return self.label


RUNTIMES: Final = tuple(
    Runtime(interpreter, delegate) for interpreter in _DELEGATING for delegate in (True, False)
)
"""Where every model runs that this tool makes."""

SPECIAL_RUNTIMES: Final = (Runtime(COMPILED_MODEL), Runtime(MICRO))
"""Where models run that were made for them."""


def installed_runtimes() -> dict[Runtime, str]:
    """Return the runtimes of `RUNTIMES` that can be imported here, in that order, with their versions.

    Nothing is imported to find out. A package without metadata has the version `UNKNOWN_VERSION`.
    """
    versions = {name: _version(name) for name in _DELEGATING if is_installed(name)}
    return {runtime: versions[runtime.interpreter] for runtime in RUNTIMES if runtime.interpreter in versions}


def is_installed(interpreter: str) -> bool:
    """True if the package of one of `INTERPRETERS` can be imported here."""
    spec = importlib.util.find_spec(_PACKAGES[interpreter])
    # An uninstalled package can leave an empty folder behind, which Python finds as a namespace without origin.
    return spec is not None and spec.origin is not None


def _version(interpreter: str) -> str:
    for distribution in _DISTRIBUTIONS[interpreter]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return UNKNOWN_VERSION
