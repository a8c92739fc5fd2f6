"""An interpreter whose "model" is a word that says how to misbehave."""

from __future__ import annotations

import enum
import os
import signal
import time
from typing import Any

import numpy as np

if os.environ.get("FAKE_INTERPRETER") == "no import":
    raise ImportError("this package does not fit this NumPy")
if os.environ.get("FAKE_INTERPRETER") == "hang":
    time.sleep(600)


class OpResolverType(enum.Enum):
    AUTO = 0
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class Interpreter:
    """Adds 1 to ``x``; counts its invokes in the output ``count``; counts allocations in ``allocated``."""

    def __init__(
        self, *, model_content: bytes, num_threads: int, experimental_op_resolver_type: OpResolverType
    ) -> None:
        self._word = model_content.decode()
        self._delegate = experimental_op_resolver_type is OpResolverType.AUTO
        self._x = np.zeros(1, np.float32)
        self._count = 0
        self._allocated = 0
        if self._word == "refuse":
            raise ValueError("no such model")

    def get_signature_list(self) -> dict[str, Any]:
        return {}

    def get_input_details(self) -> list[dict[str, Any]]:
        return [_detail("x", 0)]

    def get_output_details(self) -> list[dict[str, Any]]:
        names = ["y", "y"] if self._word == "same names" else ["y", "count", "allocated", "delegate"]
        return [_detail(name, index) for index, name in enumerate(names, start=1)]

    def resize_tensor_input(self, index: int, shape: tuple[int, ...]) -> None:
        self._x = np.zeros(shape, np.float32)

    def allocate_tensors(self) -> None:
        self._allocated += 1

    def reset_all_variables(self) -> None:
        self._count = 0

    def set_tensor(self, index: int, value: Any) -> None:
        self._x = value

    def invoke(self) -> None:
        self._count += 1
        if self._word == "print":
            os.write(1, b"printed by a native library\n" * 1000)
            print("printed by Python", flush=True)
        if self._word == "abort":
            os.write(2, b"the last words\n")
            os.abort()
        if self._word == "exit":
            os._exit(3)
        if self._word == "interrupt":
            os.kill(os.getppid(), signal.SIGALRM)
        if self._word in {"hang", "interrupt"}:
            time.sleep(600)
        if self._word == "fail":
            raise RuntimeError("the kernel says no")

    def get_tensor(self, index: int) -> Any:
        return {
            1: self._x + np.float32(1),
            2: np.int32(self._count),
            3: np.int32(self._allocated),
            4: np.bool_(self._delegate),
        }[index]


def _detail(name: str, index: int) -> dict[str, Any]:
    return {"name": name, "index": index, "dtype": np.float32, "shape_signature": np.array([-1], np.int32)}
