"""Draws of posteriors that are known in closed form; interruption; agreement of samplers."""

import numpy as np
import pytest
from scipy import stats

import cartsim as cs
from cartsim.calibration import sampling
from cartsim.calibration.convergence import effective_size, r_hat
from cartsim.calibration.sampling import Chains, Settings, nested, sample, settings_of
from cartsim.runs import Kept, Trail

MEAN, PRECISION = np.array([1.5, -1.0, 0.5]), np.array([[6.0, 2.0, 0.0], [2.0, 3.0, -0.5], [0.0, -0.5, 0.3]])


def gaussian(z):
    """Log likelihood of a normal measurement; the posterior under a standard normal prior is known."""
    off = z - MEAN
    return -0.5 * np.einsum("ki,ij,kj->k", off, PRECISION, off)


COVARIANCE = np.linalg.inv(PRECISION + np.eye(3))
POSTERIOR = COVARIANCE @ PRECISION @ MEAN
EVIDENCE = stats.multivariate_normal(np.zeros(3), np.eye(3) + np.linalg.inv(PRECISION)).logpdf(
    MEAN
) - stats.multivariate_normal(np.zeros(3), np.linalg.inv(PRECISION)).logpdf(np.zeros(3))


@pytest.fixture(scope="module")
def drawn():
    return sample(gaussian, 3, Settings(seed=1, effective=1000), n_jobs=1)


def test_a_normal_posterior_is_found(drawn):
    sd = np.sqrt(np.diag(COVARIANCE))
    assert drawn.converged and (drawn.r_hat < 1.05).all() and (drawn.effective > 1000).all()
    assert drawn.mode == pytest.approx(POSTERIOR, abs=0.05)
    assert (drawn.z.mean(axis=0) - POSTERIOR) / sd == pytest.approx(np.zeros(3), abs=0.12)
    assert drawn.z.std(axis=0) == pytest.approx(sd, rel=0.06)
    ranks = [stats.norm(POSTERIOR[i], sd[i]).cdf(drawn.z[:, i]) for i in range(3)]
    assert [np.mean(r < 0.05) for r in ranks] == pytest.approx([0.05] * 3, abs=0.02)


def test_a_beta_posterior_is_found():
    # 7 of 20, the share's prior being uniform: the posterior is beta (8, 14).
    def binomial(z):
        return stats.binom(20, stats.norm.cdf(z[:, 0])).logpmf(7)

    found = sample(binomial, 1, Settings(seed=2, effective=1000), n_jobs=1)
    shares = stats.norm.cdf(found.z[:, 0])
    assert np.quantile(shares, [0.05, 0.5, 0.95]) == pytest.approx(stats.beta(8, 14).ppf([0.05, 0.5, 0.95]), abs=0.01)


def test_threads_change_nothing(drawn):
    again = sample(gaussian, 3, Settings(seed=1, effective=1000), n_jobs=2)
    assert (again.z == drawn.z).all() and again.evaluations == drawn.evaluations
    assert (sample(gaussian, 3, Settings(seed=3, evaluations=1), n_jobs=2).z[-1] != drawn.z[-1]).any()


def test_an_interrupted_run_goes_on_bit_for_bit(drawn, tmp_path, capsys):
    calls = []

    def stops(z):
        calls.append(len(z))
        if sum(calls) > 0.7 * drawn.evaluations:
            raise KeyboardInterrupt
        return gaussian(z)

    settings = Settings(seed=1, effective=1000)
    kept = Kept(tmp_path, "calibration", {"settings": settings})
    with pytest.raises(KeyboardInterrupt):
        sample(stops, 3, settings, n_jobs=1, trail=Trail(kept))
    before = sum(calls)
    again = sample(gaussian, 3, settings, n_jobs=1, trail=Trail(kept))
    assert "steps taken from" in capsys.readouterr().err and before > 3000
    assert (again.z == drawn.z).all() and again.said == drawn.said


def test_limits_end_the_sampling_and_say_so():
    found = sample(gaussian, 3, Settings(seed=1, evaluations=10, effective=1e9), n_jobs=1)
    assert not found.converged and "limit of 10 evaluations" in found.said and "1e+09 were asked" in found.said
    found = sample(gaussian, 3, Settings(seed=1, minutes=1e-9, effective=1e9), n_jobs=1)
    assert not found.converged and "minutes" in found.said


def test_nested_sampling_agrees_and_knows_the_evidence(drawn):
    other = nested(gaussian, 3, Settings(seed=1), n_jobs=1, points=150)
    assert other.converged and abs(other.evidence[0] - EVIDENCE) < 4 * other.evidence[1]
    assert other.z.mean(axis=0) == pytest.approx(drawn.z.mean(axis=0), abs=0.2)
    assert other.z.std(axis=0) == pytest.approx(drawn.z.std(axis=0), rel=0.25)


def test_what_is_impossible_everywhere_is_refused():
    with pytest.raises(cs.InputError, match="impossible under all"):
        sample(lambda z: np.full(len(z), np.nan), 2, Settings(), n_jobs=1)


def test_ensembles_that_disagree_are_seen():
    chain = np.random.default_rng(1).standard_normal((100, 4, 8, 2))
    assert (r_hat(chain) < 1.02).all() and (effective_size(chain) > 2000).all()
    chain[:, 0, :, 1] += 1.5
    assert r_hat(chain)[0] < 1.02 < 1.1 < r_hat(chain)[1]
    drift = chain.copy()
    drift[50:, :, :, 0] += 1.0  # all ensembles move together: halves disagree
    assert r_hat(drift)[0] > 1.1 and effective_size(drift)[0] < 200


def test_a_state_that_is_none_is_computed_again(tmp_path):
    kept = Kept(tmp_path, "calibration", {})
    Trail(kept).keep(20, lambda: {"z": np.zeros(3)})
    assert Trail(kept).latest(Chains.unpack) == (0, None)


@pytest.mark.parametrize(
    "given", [{"ensembles": 1}, {"walkers": 7}, {"r_hat": 1.0}, {"evaluations": 0}, {"minutes": 0.0}]
)
def test_settings_that_cannot_be_are_refused(given):
    with pytest.raises(cs.InputError, match=r"give|limit"):
        settings_of(given)


def test_starts_are_wider_than_the_posterior():
    found = sample(gaussian, 3, Settings(seed=1, evaluations=1), n_jobs=1)
    starts = found.chains.z[0].reshape(-1, 3)
    assert (starts.std(axis=0) > 1.2 * np.sqrt(np.diag(COVARIANCE)))[:2].all()
    assert len(np.unique(starts, axis=0)) == len(starts) and sampling.BLOCK > 1
