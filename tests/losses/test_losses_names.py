import meddistill.losses
from meddistill.data.case import IGNORE_INDEX


def test_losses_and_data_agree_on_the_ignored_label():
    assert meddistill.losses.IGNORE_INDEX == IGNORE_INDEX


def test_every_public_name_is_documented():
    for name in set(meddistill.losses.__all__) - {"IGNORE_INDEX"}:
        assert getattr(meddistill.losses, name).__doc__, name
