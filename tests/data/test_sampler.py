import numpy as np
import pytest

from hemai.data.sampler import EvaluationSampler, ResumableBatchSampler, balanced_probabilities


def indices(sampler):
    return [[index for _, index in batch] for batch in sampler]


def test_the_order_follows_from_seed_and_epoch_alone():
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1, 2):
            sampler = ResumableBatchSampler(20, 4, seed)
            sampler.set_epoch(epoch)
            orders[seed, epoch] = str(indices(sampler))
    assert len(set(orders.values())) == 6
    used = ResumableBatchSampler(20, 4, seed=1)
    for epoch in (2, 0, 1, 2):  # whatever was drawn before
        used.set_epoch(epoch)
        assert str(indices(used)) == orders[1, epoch]


def test_items_carry_their_epoch():
    sampler = ResumableBatchSampler(6, 3, seed=0)
    sampler.set_epoch(7)
    assert {epoch for batch in sampler for epoch, _ in batch} == {7}


def test_an_epoch_holds_every_image_once():
    batches = indices(ResumableBatchSampler(22, 4, seed=0))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 2]
    assert sorted(index for batch in batches for index in batch) == list(range(22))


@pytest.mark.parametrize("world_size", [2, 3])
def test_devices_share_the_batches_of_one_device(world_size):
    alone = indices(ResumableBatchSampler(30, 12, seed=3))
    ranks = [indices(ResumableBatchSampler(30, 12, 3, rank, world_size)) for rank in range(world_size)]
    assert [len(rank) for rank in ranks] == [len(alone)] * world_size
    for i, batch in enumerate(alone):
        shares = [rank[i] for rank in ranks]
        assert len({len(share) for share in shares}) == 1
        assert sorted(index for share in shares for index in share) == sorted(batch)


@pytest.mark.parametrize(
    ("images", "batch_size", "world_size", "sizes"),
    [
        (9, 4, 1, [4, 4]),  # a single image is left out: BatchNorm could not average it
        (10, 4, 1, [4, 4, 2]),
        (3, 1, 1, [1, 1, 1]),  # batches of one were asked for
        (11, 4, 2, [2, 2]),  # 3 images, cut to 2: one a device
        (15, 8, 2, [4, 3]),  # 7 images, cut to 6
        (12, 8, 2, [4, 2]),
        (8, 8, 2, [4]),
        (3, 8, 2, []),
    ],
)
def test_the_last_batch_is_cut_to_equal_shares_of_two_images_or_more(images, batch_size, world_size, sizes):
    for rank in range(world_size):
        sampler = ResumableBatchSampler(images, batch_size, 0, rank, world_size)
        assert [len(batch) for batch in sampler] == sizes
        assert len(sampler) == len(sizes)


def test_a_resumed_epoch_goes_on_with_the_same_batches():
    whole = ResumableBatchSampler(30, 4, seed=2)
    whole.set_epoch(5)
    expected = list(whole)
    resumed = ResumableBatchSampler(30, 4, seed=2)
    resumed.resume_at(5, 3)
    resumed.set_epoch(5)  # Lightning tells the epoch again before it starts
    assert list(resumed) == expected[3:]
    assert list(resumed) == expected  # the place is forgotten once it is used
    assert len(resumed) == 8  # always a whole epoch


def test_the_epoch_after_a_resumed_one_is_whole():
    sampler = ResumableBatchSampler(30, 4, seed=2)
    sampler.resume_at(5, 3)
    list(sampler)
    sampler.set_epoch(6)
    fresh = ResumableBatchSampler(30, 4, seed=2)
    fresh.set_epoch(6)
    assert list(sampler) == list(fresh)


@pytest.mark.parametrize("images", [1, 2, 7, 12, 31])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_image_is_seen_in_equally_many_batches_on_all_devices(images, world_size):
    samplers = [EvaluationSampler(images, 4, rank, world_size) for rank in range(world_size)]
    ranks = [indices(sampler) for sampler in samplers]
    assert {len(rank) for rank in ranks} == {len(samplers[0])}
    seen = [index for rank in ranks for batch in rank for index in batch]
    assert set(seen) == set(range(images))
    assert len(seen) < images + world_size  # padding: less than one image a device
    assert all(0 < len(batch) <= 4 for rank in ranks for batch in rank)


def test_one_device_sees_every_image_once_and_in_order():
    assert indices(EvaluationSampler(10, 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


TARGETS = np.array([0] * 6 + [1] * 2)
GROUPS = np.array([0, 0, 0, 0, 0, 1, 2, 2])


def test_balanced_probabilities_by_hand():
    assert balanced_probabilities(TARGETS).tolist() == pytest.approx([1 / 12] * 6 + [1 / 4] * 2)
    by_group = balanced_probabilities(TARGETS, GROUPS)
    assert by_group.tolist() == pytest.approx([1 / 20] * 5 + [1 / 4] + [1 / 4] * 2)


def test_a_group_of_two_classes_counts_in_each():
    shares = balanced_probabilities(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 0]))
    assert shares.tolist() == pytest.approx([1 / 4] * 4)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_balanced_draws_are_the_same_on_any_number_of_devices(world_size):
    shares = balanced_probabilities(TARGETS, GROUPS)
    ranks = [ResumableBatchSampler(8, 6, 3, rank, world_size, shares) for rank in range(world_size)]
    alone = indices(ResumableBatchSampler(8, 6, 3, probabilities=shares))[0]
    together = sorted(index for rank in ranks for index in indices(rank)[0])
    assert together == sorted(alone)


def test_balanced_draws_come_near_the_shares():
    sampler = ResumableBatchSampler(8, 8, seed=0, probabilities=balanced_probabilities(TARGETS, GROUPS))
    drawn = []
    for epoch in range(500):
        sampler.set_epoch(epoch)
        drawn += [index for batch in indices(sampler) for index in batch]
    found = np.bincount(drawn, minlength=8) / len(drawn)
    # 4,000 draws: four standard errors of a share of 1/4 are 0.027.
    np.testing.assert_allclose(found, balanced_probabilities(TARGETS, GROUPS), atol=0.027)
