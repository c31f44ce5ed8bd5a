"""Every law of the table: its units, and recovery of known parameters from noise-free data."""

import re

import jax
import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitting import fit
from scaling.laws import LAWS, PUBLISHED
from tests.scaling.laws.law_cases import CASES, columns_of


def evaluate(law, params, columns):
    with jax.enable_x64(True):
        return np.asarray(law.form(params, columns))


def test_every_law_has_a_case():
    assert set(CASES) == set(LAWS)


@pytest.mark.parametrize("name", LAWS)
def test_natural_units_and_centred_units_predict_the_same(name):
    law, columns = LAWS[name], columns_of(name)
    rng = np.random.default_rng(3)
    centres = {key: float(rng.uniform(0.3, 30.0)) for key in (*law.columns, law.target)}
    centres |= dict.fromkeys((*law.uncentred, *law.nonnegative), 1.0)
    centres |= {key: centres[other] for key, other in law.centred_as.items()}
    inverse = {key: 1 / value for key, value in centres.items()}
    params = CASES[name].params
    with jax.enable_x64(True):
        centred = law.natural(params, inverse)
        back = law.natural(centred, centres)
    assert set(centred) == set(law.names)
    for key in law.names:
        np.testing.assert_allclose(back[key], params[key], rtol=1e-12)
    small = {key: columns[key] / centres[key] for key in law.columns}
    np.testing.assert_allclose(
        evaluate(law, centred, small) * centres[law.target],
        evaluate(law, params, columns),
        rtol=1e-12,
    )


@pytest.mark.parametrize("name", LAWS)
def test_known_parameters_come_back_from_noise_free_runs(name):
    law, columns = LAWS[name], columns_of(name)
    truth = CASES[name].params
    columns = {key: columns[key] for key in law.columns}
    runs = pd.DataFrame({key: list(values) for key, values in columns.items()})
    runs[law.target] = evaluate(law, truth, columns)
    result = fit(runs, name, bootstrap=0, starts=64)
    for key in law.names:
        np.testing.assert_allclose(result.params[key], truth[key], rtol=1e-6, err_msg=key)


def test_every_law_names_its_paper():
    for law in LAWS.values():
        assert re.search(r"[A-Z]\w+ et al\. 20\d\d.*arXiv:\d{4}\.\d{5}", law.source), law.name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets_belong_to_their_law(name):
    entry = PUBLISHED[name]
    assert set(entry.params) == set(LAWS[entry.law].names)
    assert entry.source


def test_published_chinchilla_gives_the_loss_of_chinchilla():
    # 70B parameters on 1.4T tokens by the printed constants: 1.69 + 406.4 / 4889 + 410.7 / 2512.
    law = LAWS["chinchilla"]
    columns = {"N": np.array([70e9]), "D": np.array([1.4e12])}
    loss = evaluate(law, PUBLISHED["hoffmann2022_a3"].params, columns)
    np.testing.assert_allclose(loss, 1.93665, atol=5e-6)
