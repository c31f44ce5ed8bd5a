import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from data import order


@hypothesis.given(n=st.integers(1, 3000), seed=st.integers(0, 2**63), epoch=st.integers(0, 50))
@hypothesis.settings(max_examples=60, deadline=None)
def test_every_epoch_is_a_bijection(n, seed, epoch):
    assert sorted(order.permute(np.arange(n), n, seed, epoch)) == list(range(n))


def test_a_place_is_read_without_the_others():
    n = 10**12 + 39
    places = np.array([0, 5, n - 1, 123456789012])
    whole = order.permute(places, n, 3, 2)
    assert whole.max() < n
    assert [int(order.permute(place, n, 3, 2)) for place in places] == whole.tolist()


def test_the_order_is_of_its_version():
    # Who changes what is drawn raises VERSION: runs under way must not go on in another order.
    assert order.VERSION == 2
    assert order.permute(np.arange(10), 10, 3, 1).tolist() == [9, 8, 1, 4, 2, 6, 0, 5, 3, 7]


def test_seeds_and_epochs_give_unrelated_orders():
    n = 4000
    orders = [
        order.permute(np.arange(n), n, seed, epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    orders.append(np.arange(n))
    for i in range(4):
        for j in range(i):
            # Equal places are Poisson(1) and the correlation is of order n^-1/2 for random orders.
            assert (orders[i] == orders[j]).sum() < 9
            assert abs(np.corrcoef(orders[i], orders[j])[0, 1]) < 5 / np.sqrt(n)


def test_the_order_is_uniform_over_small_permutations():
    # 6 orders of 3 things, 3000 seeds: chi-square with 5 degrees of freedom, 99.99% point 25.7.
    counts = {}
    for seed in range(3000):
        drawn = tuple(order.permute(np.arange(3), 3, seed, 0).tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 6
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 25.7


def test_an_epoch_visits_each_example_once_whatever_the_batch_size():
    n = 30
    orders = []
    for batch_size in (1, 4, 7, 64):
        batches = [
            order.example_indices(9, step, batch_size, (0, 1), n)
            for step in range(-(-2 * n // batch_size))
        ]
        orders.append(np.concatenate(batches)[: 2 * n])
    for seen in orders:
        assert sorted(seen[:n]) == sorted(seen[n:]) == list(range(n))
        np.testing.assert_array_equal(seen, orders[0])
    assert (seen[:n] != seen[n:]).any()  # the second epoch has an order of its own


def test_shards_are_the_batch_in_pieces():
    whole = order.example_indices(1, 3, 12, (0, 1), 100)
    pieces = [order.example_indices(1, 3, 12, (k, 4), 100) for k in range(4)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize(
    ("batch_size", "shard"), [(12, (4, 4)), (12, (-1, 4)), (10, (0, 4)), (0, (0, 1))]
)
def test_a_bad_shard_is_refused(batch_size, shard):
    with pytest.raises(ValueError, match="allowed"):
        order.shard_rows(batch_size, shard)


def test_a_rows_generator_is_of_its_seed_step_and_row_alone():
    def drawn(seed, step, rows):
        return [rng.standard_normal(5).tolist() for rng in order.rngs(seed, step, rows)]

    whole = drawn(3, 7, range(8))
    assert drawn(3, 7, order.shard_rows(8, (1, 2))) == whole[4:]  # on any number of hosts
    assert drawn(3, 7, np.array([6])) == [whole[6]]
    others = [*whole, *drawn(4, 7, range(8)), *drawn(3, 8, range(8)), *drawn(2**62, 0, [2**40])]
    assert len({tuple(each) for each in others}) == 25
    # Who changes what is drawn raises VERSION.
    assert order.rngs(3, 7, [1])[0].integers(0, 1000, 4).tolist() == [760, 274, 181, 447]


def test_the_generators_of_rows_are_not_those_of_synthetic_data():
    mine = order.rngs(3, 0, [0])[0].bit_generator.random_raw(4)
    for domain in (0, 1):
        theirs = np.random.Philox(key=[3, domain]).random_raw(4)
        assert (mine != theirs).all()
