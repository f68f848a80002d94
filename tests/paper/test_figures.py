"""The paper's figures, and the three models behind them run through cartsim's own engine.

Reference values were made by independent engines from the paper's equations. tests/test_model_files.py holds the
model files against them with scipy; here everything goes through `simulate`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import CensoredData, ecdf
from typer.testing import CliRunner, Result

import cartsim
from cartsim import InputError
from cartsim.cli.app import app
from cartsim.fitting import individual
from cartsim.observations import example
from cartsim.paper import FIGURES, Drawn, figure
from cartsim.paper.individuals import four

POINTS = Path(__file__).parents[2].parent / "shared" / "data" / "xenograft_fig2b.csv"
needs_points = pytest.mark.skipif(not POINTS.exists(), reason="the points of Figure 2b are not beside the checkout")

# --- in vitro ------------------------------------------------------------------------------------------

RATIOS = (1, 2, 4, 10)
CYTOLYSIS = {  # percent at 4 h in 100 uL
    "JeKo": (8.0, 15.2, 26.4, 45.1),
    "Daudi": (31.9, 46.3, 58.5, 68.2),
    "U266-B1": (50.7, 61.5, 68.3, 72.7),
    "RPMI-8226": (68.8, 72.2, 73.9, 75.0),
}


def cytolysis(line: str, **columns: object) -> np.ndarray:
    wells = cartsim.Patients(f"bb2121_invitro:{line}", columns)
    run = cartsim.simulate(wells, times=[4], outputs=["cytolysis"], solver=cartsim.Solver(rtol=1e-8))
    return run["cytolysis"][:, 0]


@pytest.mark.parametrize("line", CYTOLYSIS)
def test_cytolysis_is_the_reference(line):
    np.testing.assert_allclose(cytolysis(line, ET=RATIOS), CYTOLYSIS[line], rtol=0, atol=0.1)


@pytest.mark.parametrize("line", ["JeKo", "U266-B1", "K562-BCMA"])
def test_only_cells_per_volume_matter(line):
    scale = np.array([0.1, 1, 2, 50])
    found = cytolysis(line, Tumor0=1e5 * scale, MV=100 * scale, ET=[2.0] * 4)
    np.testing.assert_allclose(found, found[1], rtol=0, atol=1e-5)
    assert abs(cytolysis(line, MV=[100, 200])[0] - cytolysis(line, MV=[100, 200])[1]) > 1


def test_many_receptors_make_up_for_a_large_well():
    """From 100 to 200 uL JeKo loses up to 14 points of cytolysis, K562-BCMA 1."""
    ratios = np.geomspace(1, 10, 40)
    lost = {
        line: np.max(cytolysis(line, ET=ratios) - cytolysis(line, ET=ratios, MV=np.full(40, 200.0)))
        for line in ("JeKo", "K562-BCMA")
    }
    assert 13.5 < lost["JeKo"] < 14.5
    assert 0.5 < lost["K562-BCMA"] < 1.5


# --- mouse ---------------------------------------------------------------------------------------------

BLOOD = {2: 0.626, 8: 93.08, 12: 403.84, 15: 305.02, 20: 60.54}  # cells/uL
VOLUME = {4: 195.91, 8: 115.68, 12: 27.39}  # mm3


@pytest.fixture(scope="module")
def mice() -> cartsim.Simulation:
    """Treated, vehicle, and treated with the fixed volume; every 0.01 day."""
    table = {"dose": [5e6, 0, 5e6], "live_volume": [1, 1, 0]}
    return cartsim.simulate(cartsim.Patients("bb2121_xenograft", table), times=np.arange(4001) / 100)


def at(mice: cartsim.Simulation, output: str, day: float, mouse: int = 0) -> float:
    return float(mice[output][mouse, round(100 * day)])


def test_the_mouse_is_the_reference(mice):
    for day, expected in BLOOD.items():
        assert at(mice, "cart_blood", day) == pytest.approx(expected, rel=2e-3)
    for day, expected in VOLUME.items():
        assert at(mice, "tumor_volume", day) == pytest.approx(expected, rel=2e-3)


def test_blood_peaks_and_contracts(mice):
    blood = mice["cart_blood"][0, 100:]  # from day 1, after the infusion itself
    peak = int(np.argmax(blood))
    assert 400 < blood[peak] < 425
    assert 12 < 1 + peak / 100 < 13
    assert (np.diff(blood[peak + 1 :]) < 0).all()


def test_vehicle_grows_exponentially(mice):
    np.testing.assert_allclose(mice["tumor_volume"][1], 151 * np.exp(0.0888 * mice.times), rtol=1e-5)
    assert (mice["cart_blood"][1] == 0).all()


def test_a_fixed_volume_does_not_contract(mice):
    assert (np.diff(mice["cart_blood"][2, 200:]) > 0).all()
    assert at(mice, "cart_blood", 29, mouse=2) > 2000
    variant = cartsim.simulate("bb2121_xenograft:fixed_volume", dose=5e6, times=[29], outputs=["cart_blood"])
    assert variant["cart_blood"][0, 0] == pytest.approx(at(mice, "cart_blood", 29, mouse=2), rel=1e-4)


@needs_points
def test_nothing_fitted_and_yet_near_the_points():
    drawn = figure("2b", data=POINTS)
    seen = drawn.frame[drawn.frame["source"] == "observed"]
    for quantity, limit, n in (("blood_cart", 40, 10), ("tumor_volume", 20, 20)):
        rows = seen[(seen["quantity"] == quantity) & (seen["arm"] == "treated")]
        assert len(rows) == n
        predicted = cartsim.simulate("bb2121_xenograft", times=rows["day"])[
            "cart_blood" if quantity == "blood_cart" else "tumor_volume"
        ][0]
        np.testing.assert_allclose(rows["predicted"], predicted, rtol=1e-4)
        error = np.sqrt(np.mean((predicted - rows["value"]) ** 2))
        assert error <= limit
        assert f"{error:.3g}" in drawn.caption


# --- figures -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    with pytest.MonkeyPatch.context() as patch:  # 5a, 5b and S2 are of the same fits
        patch.setattr(individual, "fit_individuals", cache(individual.fit_individuals))
        return {name: figure(name) for name in FIGURES if name != "S1"}


def said(caption: str) -> str:
    """The caption on one line."""
    return " ".join(caption.split())


def test_2a_is_what_was_simulated(drawn):
    table = drawn["2a"].frame
    assert len(drawn["2a"].figure.axes) == table["line"].nunique() == 6
    np.testing.assert_allclose(table["cytolysis"] + table["viability"], 100)
    own = table[(table["MV"] == 100) & (table["percentile"] == 50)].set_index(["line", "ET"])
    for line, values in CYTOLYSIS.items():
        found = [own.loc[(line, ratio), "cytolysis"] for ratio in RATIOS]
        np.testing.assert_allclose(found, values, rtol=0, atol=0.1)


def test_2a_the_band_is_that_of_drawn_patients(drawn):
    population = cartsim.Population(cartsim.load("bb2121_invitro:Daudi"))
    assert list(population.varied) == ["Kkill_max"]
    run = cartsim.simulate(population, times=[4], outputs=["viability"], n=4000)
    table = drawn["2a"].frame
    rows = table[(table["line"] == "Daudi") & (table["ET"] == 1) & (table["MV"] == 100)].set_index("percentile")
    assert set(rows.index) == {5, 25, 50, 75, 95}
    for level, expected in rows["viability"].items():
        share = (run["viability"][:, 0] >= expected).mean()  # more killing, less viability
        assert share == pytest.approx(level / 100, abs=0.02)


def test_2a_the_caption_has_the_spread_of_the_wells(drawn):
    text = said(drawn["2a"].caption)
    assert "omega 0.62" in text
    assert "not published" in text
    assert "dotted for 50 and dashed for 200 µL" in text
    lost = {line: float(x) for line, x in re.findall(r"([\w-]+) \+\d+\.\d/−(\d+\.\d)", text)}
    assert set(lost) == set(cartsim.load("bb2121_invitro").variants)
    assert lost["JeKo"] == pytest.approx(14, abs=0.5)
    assert lost["K562-BCMA"] == pytest.approx(1, abs=0.5)


def test_2b_the_caption_says_where_the_model_misses(drawn):
    text = said(drawn["2b"].caption)
    assert "nothing fitted" in text
    assert "deduced" in text
    missing = text[text.index("Where the model misses") :]
    assert "Days 1 to 4" in missing
    assert "Late slope" in missing
    assert "Vehicle" in missing
    peak, day = re.search(r"peaks at (\d+) cells/µL on day ([\d.]+)", text).groups()
    assert (int(peak), float(day)) == (412, 12.6)
    assert int(re.search(r"reaches ([\d,]+) cells/µL on day 29", text)[1].replace(",", "")) > 2000


def test_3_is_the_typical_patient(drawn):
    table = drawn["3"].frame
    assert sorted(table["dose"].unique()) == [50e6, 150e6, 450e6, 800e6]
    middle = table[table["dose"] == 450e6].set_index("day")
    assert middle.loc[1:, "transgene"].max() == pytest.approx(35598, rel=1e-3)
    assert middle.loc[28, "mprotein_change"] == pytest.approx(100 * (0.3924 - 1), abs=0.05)
    insert = drawn["3"].figure.axes[0].child_axes[0]
    assert insert.get_xlim() == (0, 12)
    assert len(insert.lines) == 4
    assert "Where the model differs" in said(drawn["3"].caption)


def test_4_burden_sets_the_peak_and_dose_does_not(drawn):
    cells = drawn["4"].frame.set_index(["dose", "burden"])
    reference = {
        (50, 50): (37261, 16.31),
        (450, 50): (35598, 14.18),
        (450, 20): (2987, 14.90),
        (450, 95): (290550, 14.91),
    }
    for (dose, burden), (cmax, tmax) in reference.items():
        cell = cells.loc[(dose * 1e6, burden)]
        assert cell["Cmax"] == pytest.approx(cmax, rel=1e-3)
        assert cell["Tmax"] == pytest.approx(tmax, abs=0.02)
    cmax = cells["Cmax"].unstack("burden")
    assert (cmax.max(axis=1) / cmax.min(axis=1)).min() > 1000
    assert (cmax.max() / cmax.min()).max() < 1.5
    assert (cells[["sbcma_fall", "mprotein_fall"]].unstack("burden").diff(axis=1).iloc[:, 1:31] > -1e-9).all(axis=None)
    assert "on days 13 to 18" in said(drawn["4"].caption)  # the paper: two to three weeks


def test_5a_shows_the_assessments_of_the_file(drawn):
    table = drawn["5a"].frame
    seen = table[table["source"] == "observed"]
    given = pd.read_csv(example(), comment="#").dropna(subset="category")
    given = given[given["id"].isin(seen["id"])]
    assert seen[["id", "day", "observed"]].to_numpy().tolist() == given[["id", "time", "category"]].to_numpy().tolist()
    assert len(drawn["5a"].figure.axes) == seen["id"].nunique() > 1
    assert (seen["low"] <= seen["high"]).all()
    within = seen["change"].between(seen["low"], seen["high"])
    assert (within == (seen["observed"] == seen["fitted"])).mean() > 0.9
    assert "no real patient" in said(drawn["5a"].caption)


def test_5b_observed_curves_are_those_of_the_file(drawn):
    """The first PD, or the last assessment, counted by hand and given to scipy."""
    given = pd.read_csv(example(), comment="#").dropna(subset="category")
    last = given.groupby("id").last()  # the first PD is the last assessment
    table = drawn["5b"].frame
    for group, rows in (("< 150e6", last[last["dose"] < 150e6]), ("≥ 150e6", last[last["dose"] >= 150e6])):
        progressed = rows["category"] == "PD"
        estimate = ecdf(CensoredData(rows["time"][progressed], right=rows["time"][~progressed])).sf
        mine = table[(table["group"] == group) & (table["kind"] == "observed")].set_index("time")["survival"]
        np.testing.assert_allclose(mine, estimate.evaluate(mine.index * 30.4375 + 1e-6), atol=1e-12)
        assert mine.index[-1] * 30.4375 == pytest.approx(rows["time"].max())
        fitted = table[(table["group"] == group) & (table["kind"] == "fitted")]
        assert len(fitted) > 1
    assert "no real patient" in said(drawn["5b"].caption)


def test_5a_has_the_four_patients_of_the_paper(drawn):
    """PD, SD, VGPR, CR; where nobody has one at best, the next, which the caption says."""
    names = ["PD", "SD", "VGPR", "CR"]

    def patients(*courses: str) -> pd.DataFrame:
        rows = [(i, day, name) for i, course in enumerate(courses) for day, name in enumerate(course.split())]
        return pd.DataFrame(rows, columns=["id", "time", "observed"])

    shown = four(patients("SD SD SD", "VGPR VGPR", "SD VGPR VGPR", "PR CR", "MR MR PD", "SD PD"))
    assert list(shown) == [5, 0, 2, 3]
    assert [name in said for name, said in zip(names[1:], list(shown.values())[1:], strict=True)] == [True] * 3
    shown = four(patients("PR PR", "VGPR VGPR", "CR CR"))
    assert list(shown) == [0, 1, 2]
    assert "as nobody else has SD" in shown[0]
    assert len(drawn["5a"].figure.axes) == 4


def test_s2_shows_every_patient(drawn):
    given = pd.read_csv(example(), comment="#")
    assert drawn["S2"].frame["id"].nunique() == given["id"].nunique() == 33
    assert sum(axis.axison for axis in drawn["S2"].figure.axes) == 33


def test_5b_says_how_far_the_curves_are_apart(drawn):
    """Both curves of each group as they stand in the frame, on all their steps."""
    text, table = said(drawn["5b"].caption), drawn["5b"].frame
    assert "days apart" not in text
    found = re.findall(r"(\d+) points, month (\d+): observed (\d+) %, fitted (\d+) %, (\d+) and (\d+) at risk", text)
    assert len(found) == table["group"].nunique()
    for numbers, (_, both) in zip(found, table.groupby("group", sort=False), strict=True):
        points, month, observed, fitted, risk, _ = map(int, numbers)
        one, two = (both[both["kind"] == kind].set_index("time") for kind in ("observed", "fitted"))
        steps = pd.concat([one["survival"], two["survival"]], axis=1, keys=["one", "two"]).sort_index().ffill()
        apart = 100 * (steps["one"] - steps["two"]).abs()
        assert points == round(apart.max())
        assert month == round(apart.idxmax())
        assert (observed, fitted) == tuple((100 * steps.loc[apart.idxmax()]).round())
        assert risk == one.loc[apart.idxmax(), "n_risk"]
    assert "not how a trial judges" in text


def test_6b_is_flat_and_says_so(drawn):
    table = drawn["6b"].frame
    totals = table.groupby(["population", "dose", "landmark"])["percent"].sum()
    assert len(totals) == 2 * 11 * 2
    np.testing.assert_allclose(totals, 100)
    text = said(drawn["6b"].caption)
    assert text.count("does not show it") == 4
    assert "less than one cell" in text


def test_s1_has_the_order_of_the_paper():
    pytest.importorskip("SALib")
    each = figure("S1")
    total = each.frame.set_index(["parameter", "time"])["total"]
    assert total["Kel_e", 2.0] > 0.1 > 0.02 > total["Kel_e", 300.0]
    assert total["Kel_m", 300.0] > 0.1 > 0.02 > total["Kel_m", 2.0]
    text = said(each.caption)
    assert "these are assumed" in text
    assert "Where the model differs" in text


def test_6a_is_the_first_patients(drawn):
    table = drawn["6a"].frame
    assert (table.groupby("dose")["id"].nunique() == 250).all()
    assert len(table) == 4 * 250 * table["day"].nunique()
    patient = table[(table["dose"] == 150e6) & (table["id"] == 249)]
    population = cartsim.Population("bb2121_clinical")
    run = cartsim.simulate(population, 150e6, patient["day"], ["mprotein_change"], n=250)
    np.testing.assert_allclose(patient["mprotein_change"], run["mprotein_change"][249], atol=0.01)
    text = said(drawn["6a"].caption)
    assert "first 250 of 1000" in text
    assert "hardly depends on dose" in text
    assert "less than one cell" in text


def test_1_has_every_state_and_process(drawn):
    figure, table = drawn["1"].figure, drawn["1"].frame
    assert len(figure.axes) == table["model"].nunique() == 3
    for axis, (name, rows) in zip(figure.axes, table.groupby("model", sort=False), strict=True):
        model = cartsim.load(name)
        words = {text.get_text() for text in axis.texts}
        assert set(model.states) <= words
        assert set(rows["rate"]) <= words


def test_s3_shows_all_of_them(drawn):
    assert (drawn["S3"].frame.groupby("dose")["id"].nunique() == 1000).all()
    assert "all 1000 virtual patients" in said(drawn["S3"].caption)


def test_letters_once_each_and_no_title_in_the_art(drawn):
    for name, each in drawn.items():
        assert each.figure.get_suptitle() == "", name
        letters = [axis.get_title(loc="left") for axis in each.figure.axes if axis.get_title(loc="left")]
        assert len(letters) == len(set(letters)), name


def test_pictures_tables_and_captions_are_written(drawn, tmp_path):
    for name, each in drawn.items():
        if name in ("S2", "S3"):  # as 5a and 6a, and slow to write
            each.figure.draw_without_rendering()
        else:
            _is_written(each, name, tmp_path / "new")
        right = max(axis.get_position().x1 for axis in each.figure.axes)  # known now that it is laid out
        assert right > 0.9, f"the legend of {name} takes the width from the panels"
    assert len(list((tmp_path / "new").iterdir())) == 3 * (len(drawn) - 2)


def _is_written(each: Drawn, name: str, folder: Path) -> None:
    paths = each.save(folder, f"figure_{name}")
    assert [path.name for path in paths] == [f"figure_{name}{end}" for end in (".png", ".csv", ".txt")]
    assert paths[0].stat().st_size > 20_000
    back = pd.read_csv(paths[1])
    assert list(back) == list(each.frame)
    assert len(back) == len(each.frame)
    assert paths[2].read_text("utf-8") == each.caption + "\n"
    assert each.caption.startswith(f"Figure {name}. ")
    assert max(map(len, each.caption.splitlines())) <= 100


def test_measured_points_are_drawn(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("ET, line, viability, note\n1, JeKo, 90, x\n3, K562-BCMA, 20.5, y\n")
    each = figure("2a", data=path)
    seen = each.frame[each.frame["source"] == "observed"]
    assert seen[["line", "ET", "viability", "cytolysis"]].to_numpy().tolist() == [
        ["JeKo", 1, 90, 10],
        ["K562-BCMA", 3, 20.5, 79.5],
    ]
    points = [line for axis in each.figure.axes for line in axis.lines if line.get_marker() == "o"]
    assert [line.get_xydata().tolist() for line in points if len(line.get_xdata())] == [[[1, 90]], [[3, 20.5]]]


def test_a_figure_in_every_format(drawn, tmp_path):
    paths = drawn["2b"].save(tmp_path, "b", formats=("svg", "pdf"), dpi=300)
    assert [path.name for path in paths] == ["b.svg", "b.pdf", "b.csv", "b.txt"]
    assert paths[1].read_bytes().startswith(b"%PDF")


def test_observed_means_are_drawn(tmp_path):
    path = tmp_path / "means.csv"
    path.write_text(
        "series,dose,day,value,sd\ntransgene,450e6,14,20000,30000\ntransgene,50e6,14.03,100,\n"
        "mprotein_change,150e6,28,-60,12\nsbcma_change,800e6,28,-95,4\n"
    )
    each = figure("3", data=path)
    seen = each.frame[each.frame["source"] == "observed"]
    assert seen["value"].tolist() == [20000, 100, -60, -95]
    run = cartsim.simulate("bb2121_clinical", dose=450e6, times=[14], outputs=["transgene"])
    assert seen["predicted"].iloc[0] == pytest.approx(run["transgene"][0, 0], rel=1e-4)
    assert "transgene 1." in said(each.caption)
    bars = [len(axis.containers) for axis in each.figure.axes]
    assert bars == [2, 1, 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("transgene,300e6,1,2,", "dose 3e+08 is not in the figure; give one of 5e+07, 1.5e+08"),
        ("transgene,450e6,-1,2,", "days must lie from 0 to 365"),
        ("transgene,450e6,1,0,", "transgene not above 0"),
        ("mprotein_change,450e6,1,0,-1", "an sd is negative"),
        ("mprotein_change,450e6,1,0,x", "line 2: sd is 'x'; give a number"),
        ("mprotein,450e6,1,0,", "line 2: series is 'mprotein'; give one of transgene"),
    ],
)
def test_bad_means(tmp_path, row, message):
    path = write(tmp_path / "means.csv", f"series,dose,day,value,sd\n{row}\n")
    with pytest.raises(InputError) as error:
        figure("3", data=path)
    assert message in str(error.value)


# --- bad input, and the command -----------------------------------------------------------------------


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["figure", *map(str, words)])


def test_without_a_name_the_figures_are_listed():
    result = call()
    assert result.exit_code == 0
    for name, entry in FIGURES.items():
        assert re.search(rf"^ *{name} ", result.stdout, re.MULTILINE)
        assert entry.shows.split()[0] in result.stdout


def test_the_command_writes_and_prints(tmp_path):
    result = call("2a", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure_2a.csv", "figure_2a.png", "figure_2a.txt"]
    assert result.stdout == (tmp_path / "figure_2a.txt").read_text("utf-8")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("series,day\n", "no column 'value'"),
        ("series,day,value\n", "no rows"),
        ("series,day,value\nblood,1,2\n", "line 2: series is 'blood'; give one of tumor_volume_vehicle"),
        ("series,day,value\nblood_cart_treated,1,2\n,1,2\n", "line 3: series"),
        ("series,day,value\nblood_cart_treated,1,two\n", "line 2: value is 'two'; give a number"),
        ("series,day,value\nblood_cart_treated,1,inf\n", "line 2: value is 'inf'; give a number"),
        ("series,day,value\nblood_cart_treated,-1,2\n", "days must lie from 0 to 70"),
    ],
)
def test_bad_points(tmp_path, text, message):
    path = write(tmp_path / "points.csv", text)
    with pytest.raises(InputError) as error:
        figure("2b", data=path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_bad_requests(tmp_path):
    with pytest.raises(InputError, match="no figure '2c'; there are 1, 2a, 2b, 3"):
        figure("2c")
    with pytest.raises(InputError, match=r"figure 4 takes no data; leave out points\.csv"):
        figure("4", data="points.csv")
    with pytest.raises(InputError, match="there is no such file"):
        figure("2b", data=tmp_path / "nothing.csv")
    for words in (("2c",), ("4", "--data", "x.csv"), ("--data", "x.csv"), ("2b", "--data", "x.csv")):
        result = call(*words, "--out", tmp_path / "new")
        assert result.exit_code == 2, words
        assert re.fullmatch(r"cartsim: [^\n]+\n", result.stderr)
        assert result.stdout == ""
        assert not (tmp_path / "new").exists()
