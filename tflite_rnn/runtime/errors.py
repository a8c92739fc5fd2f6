"""The errors of the interpreter harness. Reports print the first two by name."""

from __future__ import annotations

from converter.errors import TfliteRnnError


class RuntimeFailure(TfliteRnnError):  # noqa: N818  # an event, which a report prints by this name
    """A runtime refused a model, reported an error, could not be started, or did not answer in time."""


class RuntimeTimeout(RuntimeFailure):
    """A runtime did not answer in time."""


class WorkerCrashed(TfliteRnnError):  # noqa: N818  # an event, which a report prints by this name
    """A runtime ended its whole process, by a signal or by exiting, while it worked on a model."""


class CheckError(TfliteRnnError):
    """A comparison is impossible: there is no runtime, case or output, or inputs cannot be generated."""


class StreamError(TfliteRnnError):
    """A sequence cannot be fed to a model in chunks: it has no state, or other states than were given."""
