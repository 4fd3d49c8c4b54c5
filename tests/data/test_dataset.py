import pytest
import torch

from meddistill.data import CaseCache, CaseDataset, FolderSource, make_loader
from meddistill.data.seeding import mixed_seed
from meddistill.errors import ConfigError
from tests.data.builders import busi_tree


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    source = FolderSource(busi_tree(tmp_path_factory.mktemp("busi")))
    return CaseCache(source, source.cases, size=(6, 5))


def noisy(sample, seed):
    noise = torch.rand(sample["image"].shape, generator=torch.Generator().manual_seed(seed))
    return {**sample, "image": sample["image"] + noise}


def same(ours, theirs):
    return ours["case_id"] == theirs["case_id"] and all(
        torch.equal(ours[name], theirs[name]) for name in ("image", "label", "index")
    )


def test_batch_has_the_promised_form(cache):
    batch = CaseDataset(cache).__getitems__([(0, 4), (0, 1), (0, 8)])
    assert set(batch) == {"image", "label", "index", "case_id"}
    assert (batch["image"].dtype, batch["image"].shape) == (torch.float32, (3, 1, 6, 5))
    assert (batch["label"].dtype, batch["label"].shape) == (torch.int64, (3, 6, 5))
    assert batch["index"].tolist() == [4, 1, 8]
    assert batch["case_id"] == ["malignant/malignant (2)", "benign/benign (2)", "normal/normal (3)"]
    images, labels = cache.gather([4, 1, 8])
    assert torch.equal(batch["image"], images.float() / 255)
    assert torch.equal(batch["label"], labels.long())


def test_writing_to_a_batch_leaves_the_cache_alone(cache):
    before = cache.gather(range(9))
    batch = CaseDataset(cache).__getitems__([(0, 0)])
    batch["image"].zero_()
    batch["label"].zero_()
    after = cache.gather(range(9))
    assert all(torch.equal(now, then) for now, then in zip(after, before, strict=True))
    assert after[1][0].any()


def test_single_items(cache):
    dataset = CaseDataset(cache, transform=noisy, seed=5)
    assert same(dataset[(2, 3)], dataset.__getitems__([(2, 3)]))
    assert same(dataset[3], dataset[(0, 3)])
    assert [batch["index"].item() for batch in dataset] == list(range(9))


def test_transform_is_seeded_by_run_epoch_and_index(cache):
    dataset = CaseDataset(cache, transform=noisy, seed=5)
    batch = dataset.__getitems__([(2, 3), (2, 4)])
    for row, index in enumerate((3, 4)):
        image = cache.read(index)[0].float() / 255
        expected = noisy({"image": image}, mixed_seed(5, 2, index))["image"]
        assert torch.equal(batch["image"][row], expected)


@pytest.mark.parametrize("transform", [None, noisy])
def test_workers_change_nothing(cache, transform):
    dataset = CaseDataset(cache, transform=transform, seed=1)
    runs = []
    for workers in (0, 2):
        loader = make_loader(dataset, batch_size=3, shuffle=True, seed=3, workers=workers)
        for epoch in (0, 1):
            loader.batch_sampler.set_epoch(epoch)
            runs.append(list(loader))
    assert len(runs[0]) == 3
    for serial, parallel in zip(runs[0] + runs[1], runs[2] + runs[3], strict=True):
        assert same(serial, parallel)
    assert not torch.equal(runs[0][0]["index"], runs[1][0]["index"])


class Marking:
    """Writes into the cache from wherever it runs, to show that all share it."""

    def __init__(self, cache):
        self.cache = cache

    def __call__(self, sample, seed):
        self.cache.labels.write(0, torch.full(self.cache.size, 77))
        return sample


def test_workers_share_the_decoded_cases(tmp_path):
    source = FolderSource(busi_tree(tmp_path))
    cache = CaseCache(source, source.cases, size=4)
    loader = make_loader(
        CaseDataset(cache, transform=Marking(cache)), batch_size=4, shuffle=False, seed=0, workers=1
    )
    list(loader)
    assert cache.read(0)[1].unique().tolist() == [77]


def test_loading_leaves_the_global_generator_alone(cache):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(make_loader(CaseDataset(cache), batch_size=4, shuffle=True, seed=3))
    assert torch.equal(torch.rand(1), expected)


def test_ranks_load_parts_of_one_batch(cache):
    dataset = CaseDataset(cache)
    arguments = {"batch_size": 4, "shuffle": True, "seed": 9}
    whole = next(iter(make_loader(dataset, **arguments)))
    parts = [next(iter(make_loader(dataset, rank=rank, world_size=2, **arguments))) for rank in (0, 1)]
    assert torch.equal(torch.cat([part["image"] for part in parts]), whole["image"])


def test_negative_workers_are_refused(cache):
    with pytest.raises(ConfigError, match="workers must be 0 or more"):
        make_loader(CaseDataset(cache), batch_size=4, shuffle=True, seed=0, workers=-1)
