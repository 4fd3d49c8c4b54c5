import json

import numpy as np
import pytest
import torch
from PIL import Image

from meddistill.deploy.predict import predict
from meddistill.errors import ConfigError, DataError, RunError
from meddistill.models.spec import ModelSpec, save_weights
from meddistill.training.run_folder import RunFolder


@pytest.fixture
def make_run(tmp_path):
    """A run whose student gives pixel value v the class round(v * (classes - 1)), so masks are known."""

    def make(classes=2, size=(16, 16), channels=1, **described):
        spec = ModelSpec(
            "pcd/unet", in_channels=channels, num_classes=classes, options={"width": 4}, size=size
        )
        run = RunFolder(tmp_path / "run")
        run.root.mkdir(exist_ok=True)
        torch.manual_seed(0)
        save_weights(spec.build(), spec, run.weights)
        run.model.write_text(json.dumps(spec.to_json() | {"interpolation": "bilinear"} | described))
        return run.root

    return make


class ByBrightness(torch.nn.Module):
    """Logits that are largest for the class nearest to the brightness."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.sizes = []

    def forward(self, image):
        self.sizes.append(tuple(image.shape))
        levels = torch.linspace(0, 1, self.classes).view(1, -1, 1, 1)
        return -10 * (image.mean(dim=1, keepdim=True) - levels).abs()


@pytest.fixture
def known_network(monkeypatch):
    def use(classes):
        network = ByBrightness(classes)

        def load(path):
            from meddistill.models.spec import load_model

            return load_model(path)[0], network

        monkeypatch.setattr("meddistill.deploy.student.load_model", load)
        return network

    return use


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "site a" / "deep").mkdir(parents=True)
    halves = np.zeros((40, 24), np.uint8)
    halves[:20] = 255
    Image.fromarray(halves).save(folder / "top.png")
    Image.fromarray(halves.T).save(folder / "site a" / "left.bmp")
    Image.fromarray(np.full((7, 9, 3), 255, np.uint8)).save(folder / "site a" / "deep" / "white.tiff")
    Image.fromarray(halves).save(folder / "top_mask.png")
    Image.fromarray(halves).save(folder / "site a" / "left_mask_1.png")
    return folder


def mask(path):
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.array(image)


def test_masks_have_the_original_sizes_in_the_same_subfolders(make_run, images, known_network, tmp_path):
    network = known_network(2)
    written = predict(make_run(), images, tmp_path / "out", batch_size=2)
    names = ["site a/deep/white_mask.png", "site a/left_mask.png", "top_mask.png"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == names
    files = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()
    )
    assert files == names
    white, left, top = (mask(path) for path in written)
    assert white.shape == (7, 9)
    assert (white == 255).all()
    assert left.shape == (24, 40)
    assert top.shape == (40, 24)
    np.testing.assert_array_equal(left, top.T)
    assert set(np.unique(top)) == {0, 255}
    assert (top[:18] == 255).all()
    assert (top[22:] == 0).all()
    assert network.sizes == [(2, 1, 16, 16), (1, 1, 16, 16)]


def test_multi_class_masks_hold_the_label_numbers(make_run, known_network, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    bands = np.repeat(np.array([0, 85, 170, 255], np.uint8), 16)[None].repeat(32, axis=0)
    Image.fromarray(bands).save(folder / "bands.png")
    known_network(4)
    [written] = predict(make_run(classes=4, size=(32, 64)), folder, tmp_path / "out")
    np.testing.assert_array_equal(mask(written), np.repeat([0, 1, 2, 3], 16)[None].repeat(32, axis=0))


def test_the_real_student_agrees_with_running_it_by_hand(make_run, images, tmp_path):
    from meddistill.data.images import read_image
    from meddistill.data.resize import resize_image
    from meddistill.models.spec import load_model

    run = make_run(channels=3, interpolation="area")
    written = predict(run, images, tmp_path / "out")
    _, network = load_model(RunFolder(run).weights)
    image = torch.from_numpy(read_image(images / "top.png", 3))
    with torch.inference_mode():
        logits = network(resize_image(image, (16, 16), "area")[None].float() / 255)
        logits = torch.nn.functional.interpolate(logits, (40, 24), mode="bilinear")
    np.testing.assert_array_equal(mask(written[-1]), logits.argmax(1)[0].numpy() * 255)


def test_masks_that_are_there_are_refused_before_anything_is_written(make_run, images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "top_mask.png").write_bytes(b"precious")
    with pytest.raises(RunError, match=r"top_mask\.png is there already"):
        predict(make_run(), images, out)
    assert [path.name for path in out.rglob("*")] == ["top_mask.png"]
    assert (out / "top_mask.png").read_bytes() == b"precious"
    predict(make_run(), images, out, overwrite=True)
    assert mask(out / "top_mask.png").shape == (40, 24)


@pytest.mark.parametrize("where", ["images", "images/../images", "images/site a/.."])
def test_labels_beside_the_images_are_never_overwritten(make_run, images, tmp_path, where):
    before = (images / "top_mask.png").read_bytes()
    with pytest.raises(ConfigError, match="would lie among the images"):
        predict(make_run(), images, tmp_path / where, overwrite=True)
    assert (images / "top_mask.png").read_bytes() == before
    assert len([path for path in images.rglob("*") if path.is_file()]) == 5


def test_an_output_folder_below_the_images_works_twice(make_run, images):
    first = predict(make_run(), images, images / "masks")
    assert predict(make_run(), images, images / "masks", overwrite=True) == first
    assert len(first) == 3


def test_unreadable_images_are_one_line_and_the_others_are_done(make_run, images, tmp_path):
    whole = (images / "top.png").read_bytes()
    (images / "a cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "b empty.png").touch()
    with pytest.raises(DataError) as caught:
        predict(make_run(), images, tmp_path / "out", batch_size=1)
    message = str(caught.value)
    assert "\n" not in message
    assert "a cut.png" in message
    assert "2 of 5 images have no mask" in message
    names = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert names == ["left_mask.png", "top_mask.png", "white_mask.png"]


def test_two_images_with_one_mask_name_are_refused(make_run, images, tmp_path):
    (images / "top.jpg").write_bytes((images / "top.png").read_bytes())
    with pytest.raises(DataError, match=r"top\.jpg and .*top\.png would both become"):
        predict(make_run(), images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_without_images_are_refused(make_run, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        predict(make_run(), tmp_path / "absent", tmp_path / "out")
    folder = tmp_path / "masks"
    folder.mkdir()
    with pytest.raises(DataError, match="holds no images"):
        predict(make_run(), folder, tmp_path / "out")
    Image.new("L", (4, 4)).save(folder / "a_mask.png")
    with pytest.raises(DataError, match="holds only masks"):
        predict(make_run(), folder, tmp_path / "out")


def test_runs_that_cannot_be_used_are_refused(make_run, images, tmp_path):
    with pytest.raises(RunError, match="not a complete run folder"):
        predict(tmp_path / "nothing", images, tmp_path / "out")
    with pytest.raises(RunError, match="interpolation is 'cubic'"):
        predict(make_run(interpolation="cubic"), images, tmp_path / "out")
    with pytest.raises(RunError, match="known size"):
        predict(make_run(size=()), images, tmp_path / "out")
    run = make_run()
    RunFolder(run).weights.write_bytes(b"not weights")
    with pytest.raises(RunError, match="not a safetensors file"):
        predict(run, images, tmp_path / "out")
    RunFolder(run).weights.unlink()
    with pytest.raises(RunError, match=r"student\.safetensors is missing"):
        predict(run, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_batch_size_below_one_is_refused(make_run, images, tmp_path):
    with pytest.raises(ConfigError, match="batch_size is 0"):
        predict(make_run(), images, tmp_path / "out", batch_size=0)


def test_an_output_that_cannot_be_written_is_one_line(make_run, images, tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(RunError, match="cannot write"):
        predict(make_run(), images, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file in the way"
