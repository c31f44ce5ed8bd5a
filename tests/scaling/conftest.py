"""What several tests of scaling share."""

import pytest


@pytest.fixture(scope="session")
def known_study(tmp_path_factory):
    """The folder of a finished study whose numbers are known; never changed by a test."""
    from tests.scaling.report.report_case import EVIL, make_study

    folder = tmp_path_factory.mktemp("study")
    make_study(folder, bad_name=EVIL)
    return folder
