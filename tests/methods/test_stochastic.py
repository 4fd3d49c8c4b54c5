import pytest
import torch
from torch.nn import functional as F

from meddistill.errors import ConfigError, TeacherError
from meddistill.losses import bernoulli_kl, kl_divergence, partial_cross_entropy
from meddistill.methods import Context, Distillation, StochasticEnsembleDistillation
from meddistill.methods.roskd_presets import PRESETS
from meddistill.testing import MethodTestCase, make_batch, make_inputs

PAPER = (0.7, 0.2, 0.09, 0.01)
SHAPES = ((6, 4), (3, 3, 5, 4), (3, 3, 4, 3, 4))


class Several(StochasticEnsembleDistillation):
    """The method with three teachers made of the one that the shared tests hand over."""

    def __call__(self, student_logits, batch, teacher_logits=None):
        teachers = torch.stack([teacher_logits, 2 * teacher_logits, -teacher_logits], 1)
        return super().__call__(student_logits, batch, teachers)


class TestOneTeacher(MethodTestCase):
    def make_method(self):
        return StochasticEnsembleDistillation()


class TestSeveralTeachers(MethodTestCase):
    def make_method(self):
        return Several(seed=5)


class TestOfTwoClasses(TestSeveralTeachers):
    shapes = ((3, 2), (2, 2, 5, 4), (2, 2, 4, 3, 4))


class TestDirichlet(MethodTestCase):
    def make_method(self):
        return Several(draw="dirichlet", temperature=2.0, alpha=0.3)


class TestReference(MethodTestCase):
    def make_method(self):
        return Several(preset="reference", draw="uniform")


def inputs(shape, teachers=4):
    student, labels, _ = make_inputs(shape)
    generator = torch.Generator().manual_seed(9)
    others = torch.randn((shape[0], teachers, *shape[1:]), generator=generator, dtype=torch.float64)
    return student, labels, 3 * others


def divergences(student, teachers, **options):
    return [kl_divergence(student, teacher, **options) for teacher in teachers.unbind(1)]


def weights_in_use(method, shape=(2, 3, 4, 4), teachers=4):
    """The weights of one step, found from the outside: only one teacher diverges in each of several asks."""
    student = torch.zeros(shape, dtype=torch.float64)
    state, found = method.state_dict(), []
    for number in range(teachers):
        logits = torch.zeros((shape[0], teachers, *shape[1:]), dtype=torch.float64)
        logits[:, number, 0] = 5.0
        method.load_state_dict(state)
        kd = method(student, make_batch(torch.zeros(2, 4, 4).long()), logits)["kd"]
        found.append(float(kd / kl_divergence(student, logits[:, number], temperature=10.0).mean()))
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alpha", [None, 0.3, 0.9])
def test_one_teacher_is_plain_distillation(shape, alpha):
    student, labels, teachers = inputs(shape, teachers=1)
    options = {} if alpha is None else {"alpha": alpha}
    method = StochasticEnsembleDistillation(**options)
    plain = Distillation(temperature=10.0, alpha=0.9 if alpha is None else alpha)
    expected = plain(student, make_batch(labels), teachers[:, 0])
    for logits in (teachers, teachers[:, 0]):
        found = method(student, make_batch(labels), logits)
        assert found.keys() == expected.keys()
        for name in found:
            torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_weighs_the_divergence_of_each_teacher(shape):
    student, labels, teachers = inputs(shape)
    labels.view(-1)[::3] = -100
    method = StochasticEnsembleDistillation(draw="uniform", temperature=4.0, alpha=0.6)
    found = method(student, make_batch(labels), teachers)
    maps = divergences(student, teachers, temperature=4.0)
    kd = (sum(maps) / 4)[labels != -100].mean()
    ce = partial_cross_entropy(student, labels)
    torch.testing.assert_close((found["kd"], found["ce"]), (kd, ce))
    torch.testing.assert_close(found["loss"], 0.6 * kd + 0.4 * ce)


def test_each_batch_has_a_permutation_of_the_weights():
    method = StochasticEnsembleDistillation(seed=1)
    drawn = [weights_in_use(method) for _ in range(12)]
    for weights in drawn:
        assert sorted(weights, reverse=True) == pytest.approx(PAPER)
    assert len({tuple(round(w, 6) for w in weights) for weights in drawn}) > 5


def test_each_sample_has_a_permutation_of_its_own():
    shape = (16, 3)
    student = torch.zeros(shape, dtype=torch.float64)
    teachers = torch.zeros((16, 4, 3), dtype=torch.float64)
    teachers[:, 0, 0] = 5.0  # only the first teacher diverges, alike from every sample
    alone = kl_divergence(student, teachers[:, 0], temperature=10.0)[0]
    method = StochasticEnsembleDistillation(per="sample", seed=1)
    seen = set()
    for row in range(16):
        batch = make_batch(torch.zeros(16).long())
        batch["label"][torch.arange(16) != row] = -100
        seen.add(round(float(method(student, batch, teachers)["kd"] / alone), 6))
    assert seen <= set(PAPER)
    assert len(seen) > 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_draw_of_a_sample_belongs_to_its_case_and_epoch(shape, multi_label):
    student, labels, teachers = inputs(shape)
    labels = (student > 0).long() if multi_label else labels
    method = StochasticEnsembleDistillation(per="sample", multi_label=multi_label)
    batch, order = make_batch(labels), torch.arange(shape[0] - 1, -1, -1)
    whole = method(student, batch, teachers)["kd"]
    reordered = {**batch, "label": labels[order], "case_id": [batch["case_id"][i] for i in order]}
    torch.testing.assert_close(method(student[order], reordered, teachers[order])["kd"], whole)
    method.on_epoch_start(1)
    assert abs(method(student, batch, teachers)["kd"] - whole) > 1e-6


def test_a_resumed_training_draws_the_same():
    method = StochasticEnsembleDistillation()
    method.prepare(Context(num_classes=3, epochs=4, seed=7))
    drawn = []
    for epoch in range(3):
        method.on_epoch_start(epoch)
        drawn.append([weights_in_use(method) for _ in range(3)])
    assert drawn[0] != drawn[1] != drawn[2]
    resumed = StochasticEnsembleDistillation()
    resumed.load_state_dict(method.state_dict())
    assert weights_in_use(resumed) == weights_in_use(method)  # in the middle of an epoch
    resumed.on_epoch_start(1)
    assert [weights_in_use(resumed) for _ in range(3)] == drawn[1]


def test_the_seed_is_that_of_the_training_unless_one_is_given():
    def first(seed, option=None):
        method = StochasticEnsembleDistillation(seed=option)
        method.prepare(Context(num_classes=3, epochs=4, seed=seed))
        return [weights_in_use(method) for _ in range(4)]

    assert first(0) != first(1)
    assert first(0, option=3) == first(1, option=3)


def test_the_draws_leave_the_global_generators_alone():
    student, labels, teachers = inputs((2, 3, 4, 4))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for per in ("batch", "sample"):
        StochasticEnsembleDistillation(per=per)(student, make_batch(labels), teachers)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_that_do_not_exclude_each_other(shape):
    student, _, teachers = inputs(shape)
    labels = (make_inputs(shape, seed=3)[0] > 0).long()
    labels.view(-1)[::4] = -100
    known = labels != -100
    method = StochasticEnsembleDistillation(multi_label=True, draw="uniform", temperature=3.0)
    found = method(student, make_batch(labels), teachers)
    maps = [bernoulli_kl(student, t, temperature=3.0, label_reduction="none") for t in teachers.unbind(1)]
    torch.testing.assert_close(found["kd"], (sum(maps) / 4)[known].mean())
    bce = F.binary_cross_entropy_with_logits(student[known], labels[known].double())
    torch.testing.assert_close(found["ce"], bce)
    torch.testing.assert_close(found["loss"], 0.9 * found["kd"] + 0.1 * bce)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kind_of_labels_is_seen_in_their_shape(shape, several):
    student, labels, teachers = inputs(shape)
    labels = (student > 0).long() if several else labels
    found = [
        StochasticEnsembleDistillation(multi_label=option)(student, make_batch(labels), teachers)
        for option in (None, several)
    ]
    assert found[0] == found[1]
    with pytest.raises(
        ConfigError, match=f"multi_label is {not several}, but labels of the shape .*leave it"
    ):
        StochasticEnsembleDistillation(multi_label=not several)(student, make_batch(labels), teachers)


def test_nothing_known_about_any_label_gives_zero():
    student, _, teachers = inputs((3, 4))
    nothing = make_batch(torch.full((3, 4), -100))
    for preset in PRESETS:
        method = StochasticEnsembleDistillation(multi_label=True, preset=preset)
        loss = method(student.requires_grad_(), nothing, teachers)["loss"]
        assert loss == 0
        assert not torch.autograd.grad(loss, student)[0].any()


# The items of the list of defects that concern the method, one by one.


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_divides_the_divergence_by_the_number_of_classes(shape):
    student, labels, teachers = inputs(shape)
    paper, reference = (
        StochasticEnsembleDistillation(preset=preset, draw="uniform")(student, make_batch(labels), teachers)
        for preset in ("paper", "reference")
    )
    torch.testing.assert_close(reference["kd"], paper["kd"] / shape[1])
    torch.testing.assert_close(reference["ce"], paper["ce"])
    torch.testing.assert_close(reference["loss"], 0.9 * reference["kd"] + 0.1 * reference["ce"])


def test_the_reference_takes_several_labels_for_one_softmax():
    student, _, teachers = inputs((6, 4))
    labels = (make_inputs((6, 4), seed=3)[0] > 0).long()
    method = StochasticEnsembleDistillation(preset="reference", multi_label=True, draw="uniform")
    found = method(student, make_batch(labels), teachers)
    torch.testing.assert_close(found["ce"], F.cross_entropy(student, labels.double()))
    maps = divergences(student, teachers, temperature=10.0, class_reduction="mean")
    torch.testing.assert_close(found["kd"], (sum(maps) / 4).mean())


def test_the_reference_draws_from_the_global_generator():
    student, labels, teachers = inputs((2, 3, 4, 4))
    method = StochasticEnsembleDistillation(preset="reference", seed=1)

    def losses(seed):
        torch.manual_seed(seed)
        return [float(method(student, make_batch(labels), teachers)["loss"]) for _ in range(6)]

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)


def test_the_presets_differ_in_nothing_else():
    student, labels, teachers = inputs((2, 3, 4, 4), teachers=1)
    batch, scaled = make_batch(labels), {}
    for preset, settings in PRESETS.items():
        method = StochasticEnsembleDistillation(preset=preset)
        scale = 3 if settings.class_reduction == "mean" else 1
        terms = method(student, batch, teachers)
        scaled[preset] = (scale * terms["kd"], terms["ce"])
    torch.testing.assert_close(scaled["paper"], scaled["reference"])


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        (None, ValueError, "needs teachers: pass teacher_logits"),
        (torch.zeros(2, 4, 2, 4, 4), TeacherError, "the teacher has 2 classes, the student 3"),
        (
            torch.zeros(2, 4, 3, 8, 8),
            ValueError,
            r"\(2, 3, 8, 8\) of each teacher do not fit .*\(2, 3, 4, 4\)",
        ),
        (torch.zeros(2, 3, 4), TeacherError, "are not those of each teacher"),
        (torch.zeros(2, 0, 3, 4, 4), TeacherError, "are not those of each teacher"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(logits, error, message):
    student, labels, _ = make_inputs((2, 3, 4, 4))
    with pytest.raises(error, match=message):
        StochasticEnsembleDistillation()(student, make_batch(labels), logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be a number above 0, got 0"),
        ({"alpha": 1.2}, "alpha must lie in 0..1, got 1.2"),
        ({"draw": "shuffle"}, "unknown draw 'shuffle'"),
        ({"per": "image"}, "unknown per 'image'"),
        ({"preset": "refrence"}, "did you mean 'reference'"),
        ({"weights": [0, 1]}, "weights must be numbers of 0 or more, the first above 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        StochasticEnsembleDistillation(**options)
