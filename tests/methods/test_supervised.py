import math

import torch

from meddistill.methods import Supervised
from meddistill.testing import MethodTestCase, make_batch


class TestSupervised(MethodTestCase):
    def make_method(self):
        return Supervised()


def test_value_computed_by_hand():
    logits = torch.tensor([[[[0.0, 0.0]], [[math.log(3), 9.0]]]])
    terms = Supervised()(logits, make_batch(torch.tensor([[[0, -100]]])))
    torch.testing.assert_close(terms["loss"], torch.tensor(math.log(4)))
    assert terms["ce"] == terms["loss"]


def test_asks_for_no_teacher():
    method = Supervised()
    assert not method.needs_teacher
    assert not method.needs_teacher_temperature
    assert method.status() == {}
