"""The training and validation steps by themselves, without a trainer."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from meddistill.config import TrainingConfig
from meddistill.evaluation import dice_score
from meddistill.losses import partial_cross_entropy
from meddistill.methods import (
    Context,
    CoTeaching,
    CrossPseudoSupervision,
    Decoupled,
    Distillation,
    HardPseudoLabels,
    LabelSmoothing,
    MeanTeacher,
    Method,
    MixedSupervision,
    PacedDistillation,
    PseudoLabelTransfer,
    SingleBranch,
    StochasticEnsembleDistillation,
    Supervised,
    SymmetricLearning,
)
from meddistill.models import create_model
from meddistill.models.forms import arrange
from meddistill.teachers import Teacher
from meddistill.testing import make_batch
from meddistill.training.means import WeightedMean
from meddistill.training.module import DistillationModule, build_optimizer

aten = torch.ops.aten
_READS_BACK = {
    aten._local_scalar_dense,
    aten.is_nonzero,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten.equal,
    aten._unique2,
}
_COPIES = {aten._to_copy, aten.copy_}
_FROM_PYTHON = {torch.tensor, torch.as_tensor, Tensor.new_tensor}


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        on_device = [value.is_meta for value in (*args, out) if isinstance(value, Tensor)]
        packet = func.overloadpacket
        assert not (packet in _READS_BACK and any(on_device)), f"{func} waits for the device"
        assert packet not in _COPIES or len(set(on_device)) == 1, f"{func} copies to or from the device"
        return out


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        assert not (func in _FROM_PYTHON and out.is_meta), f"{func} makes a tensor elsewhere and copies it"
        return out


@contextlib.contextmanager
def no_waiting():
    """Refuse what makes the processor wait for a device, which the device "meta" stands for.

    Those are operations whose result the processor needs, and copies between the two.
    """
    with _Operations(), _Functions():
        yield


def make_student():
    return create_model("pcd/unet", width=2)


def make_module(method: Method, device: str = "cpu") -> DistillationModule:
    torch.manual_seed(0)
    student, network = arrange(method.form, make_student), create_model("pcd/unet", width=4)
    teacher = Teacher(network).to(device) if method.needs_teacher else None
    config = TrainingConfig(epochs=2, batch_size=4, gradient_clip=1.0)
    module = DistillationModule(student, method, teacher, config, num_classes=2, seed=0)
    return module.to(device)


def prepared(method: Method) -> Method:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 16, 16, generator=generator)
    labels = torch.randint(2, (2, 16, 16), generator=generator)
    context = Context(
        num_classes=2, epochs=4, teacher_batches=lambda: [(logits, labels)], teacher_temperature=1.5
    )
    method.prepare(context)
    return method


def batch_of(cases: int, *, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (cases, 32, 32), generator=generator)
    return make_batch(labels) | {"image": torch.rand(cases, 1, 32, 32, generator=generator)}


def mixed_batch(full: list[bool]):
    """A batch of both kinds, as the module sends it to a device."""
    batch = batch_of(len(full))
    labels = {"full": torch.tensor(full), "weak": torch.full_like(batch["label"], -100)}
    return make_module(Supervised()).on_before_batch_transfer({**batch, **labels}, 0)


def on(device: str, batch):
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


METHODS = {
    "supervised": Supervised,
    "distillation": Distillation,
    **{f"paced {mode}": lambda mode=mode: PacedDistillation(mode=mode) for mode in ("tpl", "tpl_uncert")},
    **{f"paced {mode}": lambda mode=mode: PacedDistillation(mode=mode) for mode in ("cpl", "cpl_tpl")},
    "paced reference": lambda: PacedDistillation(preset="reference"),
    "transfer": PseudoLabelTransfer,
    "transfer of hard masks": lambda: PseudoLabelTransfer(target="hard"),
    "transfer with dynamic selection": lambda: PseudoLabelTransfer(dynamic={"tau": 0.5}),
    "stochastic": StochasticEnsembleDistillation,
    "stochastic reference": lambda: StochasticEnsembleDistillation(preset="reference"),
    "label smoothing": LabelSmoothing,
    "symmetric cross-entropy": SymmetricLearning,
    "co-teaching": CoTeaching,
    "co-teaching by pixel": lambda: CoTeaching(select="pixel"),
}

MIXED = {
    "mixed": MixedSupervision,
    "mixed reference": lambda: MixedSupervision(preset="reference", kd_on="all", dice=0.1),
    "pseudo labels": HardPseudoLabels,
    "decoupled": Decoupled,
    "single branch": SingleBranch,
    "mean teacher": MeanTeacher,
    "cross pseudo": CrossPseudoSupervision,
}


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_training_step_does_not_wait_for_the_device(make, monkeypatch):
    # "meta" has no lower precision of its own
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    take_steps(make_module(prepared(make()), "meta"), on("meta", batch_of(4)))


@pytest.mark.parametrize("full", [[True, True, False, False], [True, False, True, False], [True] * 4])
@pytest.mark.parametrize("make", MIXED.values(), ids=MIXED)
def test_a_step_of_mixed_supervision_does_not_wait_for_the_device(make, full, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    take_steps(make_module(make(), "meta"), on("meta", mixed_batch(full)))


def take_steps(module, batch):
    optimizer = build_optimizer(module.student, module.config)
    module.training_step(batch, 0)  # makes the running means
    for index in range(1, 4):
        with no_waiting():
            loss = module.training_step(batch, index)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.student.parameters(), 1.0)
            optimizer.step()
            module.on_train_batch_end(loss, batch, index)


def test_a_validation_step_does_not_wait_for_the_device():
    module = make_module(Supervised(), "meta")
    with no_waiting(), torch.inference_mode():
        module.validation_step(on("meta", batch_of(4)), 0)


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x + torch.tensor(1.0, device=x.device),
        lambda x: x + torch.as_tensor(8, device=x.device),
        lambda x: x.new_tensor(8.0),
        lambda x: x.to("cpu"),
        lambda x: x + torch.zeros(4).to(x.device),
        lambda x: x.sum().item(),
    ],
)
def test_what_waits_for_the_device_is_noticed(waits):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), no_waiting():
        waits(torch.zeros(4, device="meta"))


def test_an_accelerator_is_asked_for_its_losses_every_fiftieth_batch(monkeypatch):
    module = make_module(Supervised(), "meta")
    asked = []
    monkeypatch.setattr(module, "_check_losses", lambda: asked.append(len(module._unchecked)))
    for index in range(100):
        module._watch(torch.zeros((), device="meta"), ["a"], index)
    assert asked == [50, 100]


def test_logits_that_the_batch_brings_are_taken_and_the_teacher_left_alone(monkeypatch):
    module = make_module(Distillation())
    logits = module.teach(batch_of(2))
    monkeypatch.setattr(module.teacher, "forward", None)
    assert module.teach(batch_of(2) | {"teacher_logits": logits}) is logits


def test_the_training_means_weigh_every_case_alike():
    """A last batch of one case counts a quarter of one of four, not the same."""
    module = make_module(Supervised())
    losses = [float(module.training_step(batch_of(n, seed=n), n).detach()) for n in (4, 2)]
    expected = (4 * losses[0] + 2 * losses[1]) / 6
    assert module.training_means()["train_loss"] == pytest.approx(expected, rel=1e-6)
    again = float(module.training_step(batch_of(3), 0).detach())
    assert module.training_means()["train_loss"] == pytest.approx(again, rel=1e-6)


def test_a_term_that_an_epoch_does_not_have_is_left_out():
    module = make_module(Supervised())
    module.training_step(batch_of(2), 0)
    assert set(module.training_means()) == {"train_loss", "train_ce"}
    assert module.training_means() == {}


def test_selection_means_are_those_of_the_whole_split():
    module = make_module(Supervised()).eval()
    batches = [batch_of(n, seed=n) for n in (3, 1)]
    batches[0]["label"][1] = 0  # no lesion: without one in the prediction too it has no Dice
    with torch.inference_mode():
        for batch in batches:
            module.validation_step(batch, 0)
        image = torch.cat([batch["image"] for batch in batches])
        label = torch.cat([batch["label"] for batch in batches])
        logits = module(image)
    found = module.selection_means()
    assert found["selection_loss"] == pytest.approx(float(partial_cross_entropy(logits, label)), rel=1e-5)
    dice = dice_score(logits.argmax(1), label, num_classes=2).nanmean()
    assert found["selection_dice"] == pytest.approx(float(dice), rel=1e-5)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_mean_of_nothing_is_no_number():
    assert WeightedMean().compute().isnan()
