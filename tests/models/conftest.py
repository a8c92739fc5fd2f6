from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from models.chars2vec import Pretrained


@pytest.fixture(scope="session")
def pretrained() -> Pretrained:
    """The trained network. Without an index its tests skip, except in CI, where they have to run."""
    from models import chars2vec
    from models.archives import DownloadError

    try:
        return chars2vec.load()
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the trained weights: {error}")
