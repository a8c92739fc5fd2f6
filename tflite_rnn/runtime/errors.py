"""The errors of the interpreter harness. The first two name what happened to a runtime, as reports do."""

from __future__ import annotations

from converter.errors import TfliteRnnError


class RuntimeFailure(TfliteRnnError):  # noqa: N818  # an event, which a report prints by this name
    """A runtime refused a model, answered with an error, could not be started, or did not answer in time."""


class WorkerCrashed(TfliteRnnError):  # noqa: N818  # an event, which a report prints by this name
    """A runtime ended its whole process, by a signal or by exiting, while it worked on a model."""


class CheckError(TfliteRnnError):
    """A comparison cannot be made at all: no runtime, no cases, no outputs, or inputs nobody can guess."""


class StreamError(TfliteRnnError):
    """A sequence cannot be fed to a model in chunks: it keeps no state, or another one than is given."""
