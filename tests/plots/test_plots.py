"""Pictures hold what they are given: curves, bars, marks, labels, units and numbers of patients."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from cartsim import plots
from cartsim.endpoints.rules import Response, labels
from cartsim.endpoints.survival import kaplan_meier
from cartsim.errors import InputError
from cartsim.plots import style

MONTH = 30.4375
DAYS = np.array([0.0, 2, 7, 14, 28, 60, 180, 365, 640])
VISITS = np.array([28.0, 61, 91, 183, 365])
ARMS = ("50e6", "450e6")


pytestmark = pytest.mark.usefixtures("_no_warnings")


def curves(n=40, arms=ARMS, days=DAYS, seed=1):
    """Values spread over two decades, some below 50."""
    rng = np.random.default_rng(seed)
    return {arm: 10 ** rng.uniform(1, 4, (n, days.size)) for arm in arms}


def changes(n=40, arms=ARMS, days=DAYS, seed=2):
    rng = np.random.default_rng(seed)
    return {arm: rng.uniform(-100, 60, (n, days.size)) for arm in arms}


def groups(n=40, arms=ARMS, seed=3):
    rng = np.random.default_rng(seed)
    return {arm: rng.integers(0, 7, n) for arm in arms}


def drawn(figure):
    """The figure, rendered: whatever fails, fails here."""
    FigureCanvasAgg(figure).draw()
    return figure


def all_axes(figure):
    return [axis for axis in figure.axes if axis.axison]


def titles(figure):
    return [axis.get_title() for axis in all_axes(figure) if axis.get_title()]


def legend_texts(figure):
    found = [legend for axis in figure.axes if (legend := axis.get_legend())]
    return [text.get_text() for legend in [*found, *figure.legends] for text in legend.get_texts()]


def vertices(collection):
    return np.concatenate([path.vertices for path in collection.get_paths()])


def areas(axis):
    return [c for c in axis.collections if not isinstance(c, LineCollection)]


def holds(points, x, y):
    """Whether all points (x, y) are among the vertices."""
    return all(np.isclose(points, pair, rtol=1e-9).all(axis=1).any() for pair in zip(x, y, strict=True))


def wilson(k, n, z=1.959963984540054):
    """Wilson 1927, as printed."""
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * (middle - half), 100 * (middle + half)


# Colors, names, saving


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, cartsim.plots; assert not any(m.startswith('matplotlib') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def lab(rgb_linear):
    """CIE Lab (D65) of linear sRGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x = to_xyz @ np.clip(rgb_linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1.
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}


@pytest.mark.parametrize("vision", VISION)
def test_categories_can_be_told_apart_with_any_color_vision(vision):
    seen = {}
    for name, color in style.CATEGORY_COLORS.items():
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen[name] = lab(VISION[vision] @ linear)
    names = list(seen)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert np.linalg.norm(seen[a] - seen[b]) > 12, (a, b)  # 2.3 is just noticeable
    lightness = [seen[name][0] for name in ("MR", "PR", "VGPR", "CR")]
    assert (np.diff(lightness) < -10).all()


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("450e6", "450 × 10⁶ cells"),
        ("450000000.0", "450 × 10⁶ cells"),
        ("0.5e6", "0.5 × 10⁶ cells"),
        ("0", "no cells"),
        ("untreated", "untreated"),
        ("nan", "nan"),
        ("3", "3"),
    ],
)
def test_arm_titles(name, title):
    assert style.arm_title(name) == title


def test_categories_in_any_form():
    expected = ["CR", "PD", "NE"]
    assert style.categories([6, 1, 0]).tolist() == expected
    assert style.categories(np.array([Response.CR, Response.PD, Response.NE])).tolist() == expected
    assert style.categories(["CR", "PD", None]).tolist() == expected
    names = [category.name for category in Response]
    assert style.categories(pd.Categorical(["CR", "PD", np.nan], names, ordered=True)).tolist() == expected
    assert style.categories(pd.Series(["CR", "PD", np.nan], dtype="category")).tolist() == expected
    assert style.categories(np.zeros((0, 3), int)).shape == (0, 3)
    assert style.categories(np.full((2, 3), 4)).tolist() == [["PR"] * 3] * 2


@pytest.mark.parametrize("wrong", [["CR", "sCR"], [7], [-1], [2.5]])
def test_unknown_category(wrong):
    with pytest.raises(InputError, match="no response category; they are NE, PD"):
        style.categories(wrong)


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_save_by_suffix_and_nothing_else(tmp_path, suffix, start):
    figure = plots.response_bars({"6 months": groups()})
    path = plots.save(figure, tmp_path / f"picture.{suffix}", dpi=50)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [f"picture.{suffix}"]


def test_png_has_150_dpi_unless_told(tmp_path):
    figure = plots.kaplan_meier({"450e6": kaplan_meier([1.0, 2.0], [1, 0])})
    data = plots.save(figure, str(tmp_path / "a.png")).read_bytes()
    width, height = (int.from_bytes(data[i : i + 4]) for i in (16, 20))
    assert np.allclose([width, height], 150 * figure.get_size_inches(), atol=1)


def test_fonts_of_a_pdf_are_embedded_and_settings_stay(tmp_path):
    before = dict(matplotlib.rcParams)
    data = plots.save(plots.transgene(DAYS, curves()), tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in data  # TrueType, type 42
    assert b"/Type3" not in data
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("fonttype", ["path", "none"])
def test_letters_of_an_svg_are_outlines_or_text_as_matplotlib_is_told(tmp_path, fonttype):
    with matplotlib.rc_context({"svg.fonttype": fonttype}):
        text, again = (plots.save(plots.transgene(DAYS, curves()), tmp_path / f"{i}.svg").read_text() for i in (1, 2))
    assert text == again
    assert ("<text" in text) == (fonttype == "none")


def test_a_title_can_be_left_out_and_is_known_all_the_same(tmp_path):
    figure = plots.transgene(DAYS, curves())
    with_title = Image.open(plots.save(figure, tmp_path / "a.png", dpi=50))
    without = Image.open(plots.save(figure, tmp_path / "b.png", dpi=50, title=False))
    top = [np.asarray(picture.convert("L"))[:12] for picture in (with_title, without)]
    assert top[0][:, :60].min() < 120 < top[1][:, :60].min()
    assert with_title.info["Title"] == without.info["Title"] == figure.get_suptitle() != ""


@pytest.mark.parametrize("dpi", [0, -1, 9.9, 2401, float("nan"), float("inf")])
def test_dots_per_inch_that_no_picture_has(tmp_path, dpi):
    with pytest.raises(InputError, match="give dots per inch from 10 to 2400"):
        plots.save(plots.transgene(DAYS, curves()), tmp_path / "a.png", dpi=dpi)


def test_save_refuses(tmp_path):
    figure = plots.response_bars({"6 months": groups()})
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf"):
        plots.save(figure, tmp_path / "a.gif")
    with pytest.raises(InputError, match="No such file"):
        plots.save(figure, tmp_path / "missing" / "a.png")
    assert not list(tmp_path.iterdir())


def test_threads_draw_the_same(tmp_path):
    def draw(i):
        return plots.save(plots.transgene(DAYS, curves()), tmp_path / f"{i}.png", dpi=50).read_bytes()

    alone = draw(0)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(draw, range(1, 5))) == {alone}


# Kinetics


def test_transgene_medians_bands_and_limit():
    values = curves()
    values["450e6"][:3] = np.nan
    figure = drawn(plots.transgene(DAYS, values))
    early, late, *single = all_axes(figure)
    for axis, per in ((early, 1), (late, MONTH)):
        for line, arm in zip(axis.get_lines(), ARMS, strict=False):
            np.testing.assert_allclose(line.get_xdata(), DAYS / per)
            np.testing.assert_allclose(line.get_ydata(), np.nanmedian(values[arm], axis=0))
        assert [line.get_ydata() for line in axis.get_lines()[2:]] == [[50, 50]]
        assert axis.get_yscale() == "log"
        assert axis.get_ylim()[0] == pytest.approx(5)
    assert early.get_xlabel() == "Time since infusion (days)"
    assert early.get_xlim() == (0, 28)
    assert late.get_xlabel() == "Time since infusion (months)"
    assert early.get_ylabel() == single[0].get_ylabel() == "Transgene (copies/µg DNA)"
    for axis, arm in zip(single, ARMS, strict=True):
        for area, pair in zip(areas(axis), ((5, 95), (25, 75)), strict=True):
            for edge in np.nanpercentile(values[arm], pair, axis=0):
                assert holds(vertices(area), DAYS / MONTH, edge)
        assert axis.get_xlabel() == "Time since infusion\n(months, square-root scale)"
    assert [axis.get_title() for axis in single] == ["50 × 10⁶ cells, n = 40", "450 × 10⁶ cells, n = 37 of 40"]
    assert "450 × 10⁶ cells, n = 37 of 40" in legend_texts(figure)
    assert "limit of quantification (50)" in legend_texts(figure)
    assert figure.get_suptitle() == "CAR-T kinetics in blood by dose"


def test_transgene_of_one_arm_has_its_bands_twice():
    values = curves(arms=("450e6",))
    figure = drawn(plots.transgene(DAYS, values, lloq=20))
    assert len(all_axes(figure)) == 2
    for axis, per in zip(all_axes(figure), (1, MONTH), strict=True):
        assert holds(vertices(areas(axis)[0]), DAYS / per, np.percentile(values["450e6"], 95, axis=0))
        assert [line.get_ydata() for line in axis.get_lines()[1:]] == [[20, 20]]
    assert figure.get_suptitle().endswith("450 × 10⁶ cells, n = 40")


def test_square_root_scale_keeps_the_months_where_they_are():
    axis = all_axes(plots.transgene(DAYS, curves()))[2]
    where = axis.transData.transform([[x, 100] for x in (0, 1, 4, 16)])[:, 0]
    np.testing.assert_allclose((where - where[0]) / (where[1] - where[0]), [0, 1, 2, 4])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "½", "1", "3", "6", "12", "18"]


def test_short_times_stay_in_days():
    figure = plots.transgene(DAYS[:5], curves(days=DAYS[:5]))
    assert {axis.get_xlabel() for axis in all_axes(figure)} == {"Time since infusion (days)"}


def test_an_untreated_arm_says_so():
    figure = drawn(plots.transgene(DAYS, {"0": np.zeros((3, DAYS.size)), **curves(arms=("450e6",))}))
    assert [t.get_text() for t in all_axes(figure)[2].texts] == ["0 throughout"]


def test_marker_change():
    values = {"Soluble BCMA": changes(seed=4), "Serum M-protein": changes(seed=5)}
    figure = drawn(plots.marker_change(DAYS, values))
    axes = all_axes(figure)
    for axis, (marker, arm) in zip(axes, [(m, a) for m in values for a in ARMS], strict=True):
        line = axis.get_lines()[0]
        np.testing.assert_allclose(line.get_ydata(), np.median(values[marker][arm], axis=0))
        assert holds(vertices(areas(axis)[1]), DAYS / MONTH, np.percentile(values[marker][arm], 25, axis=0))
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == [f"{m}\n(% change from baseline)" for m in values]
    assert titles(figure) == ["50 × 10⁶ cells, n = 40", "450 × 10⁶ cells, n = 40"] * 2


def test_marker_change_ends_at_the_highest_percent():
    figure = plots.marker_change(DAYS, {"Serum M-protein": {"a": np.full((3, DAYS.size), 900.0)}}, highest=80)
    assert all_axes(figure)[0].get_ylim() == (-104, 80)


def test_by_response_draws_what_is_below_the_limit_in_the_strip():
    values, best = curves(60, ("a",))["a"], np.repeat([0, 1, 4, 6], 15)
    figure = drawn(plots.by_response(DAYS, values, best))
    assert titles(figure) == ["PD, n = 15", "PR, n = 15", "CR, n = 15"]
    for axis, code in zip(all_axes(figure), (1, 4, 6), strict=True):
        low, median, high = np.percentile(values[best == code], (25, 50, 75), axis=0)
        assert (low < 50).any()
        own = [line for line in axis.get_lines() if line.get_marker() == "o"]
        np.testing.assert_allclose(own[0].get_ydata(), np.where(median < 50, 25, median))
        assert to_hex(own[0].get_color()) == style.CATEGORY_COLORS[Response(code).name].lower()
        assert holds(vertices(areas(axis)[0]), DAYS / MONTH, np.where(low < 50, 25, low))
        assert holds(vertices(areas(axis)[0]), DAYS / MONTH, high)
    assert all_axes(figure)[0].get_ylabel() == "Transgene\n(copies/µg DNA)"


def test_by_response_on_a_linear_axis_has_no_limit():
    values = changes(20, ("a",))["a"]
    marker = "Soluble BCMA (% change from baseline)"
    figure = drawn(plots.by_response(DAYS, values, ["PR"] * 20, marker=marker, log=False))
    (axis,) = all_axes(figure)
    assert axis.get_yscale() == "linear"
    np.testing.assert_allclose(axis.get_lines()[-1].get_ydata(), np.median(values, axis=0))
    assert not any("quantification" in text for text in legend_texts(figure))
    assert figure.get_suptitle() == "Soluble BCMA by best response"


def test_visual_predictive_check():
    observed = curves(30, ("a",))
    simulated = {"a": np.stack([curves(30, ("a",), seed=s)["a"] for s in range(10, 29)])}
    figure = drawn(plots.visual_predictive_check(DAYS, observed, simulated, lloq=None))
    (axis,) = all_axes(figure)
    for line, level in zip(axis.get_lines()[:3], (5, 50, 95), strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.percentile(observed["a"], level, axis=0))
    for area, level in zip(areas(axis), (5, 50, 95), strict=True):
        medians = np.percentile(simulated["a"], level, axis=1)
        for edge in np.percentile(medians, (2.5, 97.5), axis=0):
            assert holds(vertices(area), DAYS / MONTH, edge)
    points = axis.get_lines()[3]
    assert points.get_ydata().size == 30 * DAYS.size
    assert titles(figure) == ["a, n = 30, 19 simulated trials"]


def test_visual_predictive_check_keeps_missing_visits_out():
    observed, simulated = curves(30, ("a",)), {"a": curves(30, ("a",))["a"][None]}
    observed["a"][5:, 3] = np.nan
    simulated["a"][0, 5:, 3] = np.nan
    (axis,) = all_axes(drawn(plots.visual_predictive_check(DAYS, observed, simulated)))
    expected = np.median(observed["a"][:5, 3])
    assert axis.get_lines()[1].get_ydata()[3] == (expected if expected >= 50 else 25)


# Patients


def test_spider_has_the_first_patients_in_their_colors():
    values, best = changes(300), groups(300)
    figure = drawn(plots.spider(DAYS, values, best))
    assert titles(figure) == [
        "50 × 10⁶ cells, first 250 of 300",
        "450 × 10⁶ cells, first 250 of 300",
    ]
    for axis, arm in zip(all_axes(figure), ARMS, strict=True):
        lines = {c.get_label(): c for c in axis.collections}
        sizes = [len(c.get_segments()) for c in axis.collections]
        assert sum(sizes) == 250
        assert sizes == sorted(sizes, reverse=True)
        for name, collection in lines.items():
            assert to_hex(collection.get_color()[0]) == style.CATEGORY_COLORS[name].lower()
            own = values[arm][:250][labels(best[arm][:250]) == name]
            for segment, row in zip(collection.get_segments(), own, strict=True):
                np.testing.assert_allclose(segment, np.column_stack([DAYS / MONTH, row]))
    assert all_axes(figure)[0].get_ylabel() == "Serum M-protein\n(% change from baseline)"
    assert "CR: complete response" in legend_texts(figure)


def test_spider_in_the_groups_of_figure_6():
    figure = drawn(plots.spider(DAYS, changes(4), groups={a: [3, 4, 5, 6] for a in ARMS}, grouped=True))
    assert [len(c.get_segments()) for c in all_axes(figure)[0].collections] == [3, 1]
    assert legend_texts(figure) == [
        "CR: complete response",
        "MR, PR, VGPR: minor, partial or very good partial response",
    ]


def test_spider_cuts_off_what_runs_away():
    runaway = np.full((2, DAYS.size), 20.0)
    runaway[0, -1], runaway[1, -1] = 1e6, np.inf
    figure = drawn(plots.spider(DAYS, {"a": runaway}, {"a": ["PD", "PD"]}))
    assert all_axes(figure)[0].get_ylim()[1] == 100


def test_waterfall_is_in_order_and_counts_who_has_no_value():
    change = np.array([-50.0, np.nan, 300, -99.5, 10])
    best = ["PR", "NE", "PD", "CR", "SD"]
    figure = drawn(plots.waterfall({"450e6": change}, {"450e6": best}))
    (bars,) = [c for c in all_axes(figure)[0].collections if isinstance(c, PolyCollection)]
    heights = [path.vertices[2, 1] for path in bars.get_paths()]
    assert heights == [100, 10, -50, -99.5]
    expected = [style.CATEGORY_COLORS[name].lower() for name in ("PD", "SD", "PR", "CR")]
    assert [to_hex(color) for color in bars.get_facecolor()] == expected
    assert titles(figure) == ["450 × 10⁶ cells, n = 5, 1 without a value"]
    assert "NE: not evaluable" not in legend_texts(figure)


def test_waterfall_panels_share_the_highest_bar():
    figure = plots.waterfall({"a": [90.0], "b": [-90.0]}, {"a": ["PD"], "b": ["VGPR"]})
    assert [axis.get_ylim()[1] for axis in all_axes(figure)] == [95, 95]


def test_swimmer_bars_marks_and_order():
    status = labels([[4, 6, 6, 1, 0], [2, 2, 0, 0, 0], [4, 4, 4, 4, 4]])
    last, progression = np.array([183.0, 61, 365]), np.array([183.0, np.nan, np.nan])
    figure = drawn(
        plots.swimmer(
            VISITS,
            status,
            last,
            events={"progression": progression},
            ongoing=[False, False, True],
            title="450e6",
        )
    )
    (axis,) = all_axes(figure)
    bars = sorted(
        (round(b.get_y() + 0.4), round(b.get_x() * MONTH), round(b.get_width() * MONTH), c.get_label())
        for c in axis.containers
        for b in c
    )
    assert bars == [
        (0, 28, 33, "SD"),
        (1, 28, 33, "PR"),
        (1, 61, 30, "CR"),
        (1, 91, 92, "CR"),
        (2, 28, 33, "PR"),
        (2, 61, 30, "PR"),
        (2, 91, 92, "PR"),
        (2, 183, 182, "PR"),
    ]
    marks, arrows = axis.get_lines()
    seen = np.isfinite(marks.get_xdata())
    assert (marks.get_xdata()[seen] * MONTH, marks.get_ydata()[seen]) == (183, 1)
    assert (arrows.get_xdata() * MONTH, arrows.get_ydata()) == (pytest.approx(365), 2)
    assert titles(figure) == ["450 × 10⁶ cells, n = 3"]
    assert {"progression", "ongoing"} <= set(legend_texts(figure))


def test_swimmer_takes_the_first_followed_and_own_visit_days():
    status = np.full((5, 5), 4)
    days = np.tile(VISITS, (5, 1)) + np.arange(5)[:, None]
    figure = drawn(plots.swimmer(days, status, [np.nan, 200, 100, 300, 400], first=2))
    (axis,) = all_axes(figure)
    starts = {round(b.get_y() + 0.4): b.get_x() * MONTH for c in axis.containers for b in reversed(list(c))}
    assert starts == {0: pytest.approx(30), 1: pytest.approx(29)}
    assert titles(figure) == ["first 2 of 5 patients"]


# Shares of categories


def test_response_bars_are_shares_with_wilson_limits():
    given = {"50e6": ["PD"] * 3 + ["SD"] * 2 + ["MR", "PR", "VGPR", "CR"] + [None], "450e6": ["CR"] * 10}
    figure = drawn(plots.response_bars({"6 months": given, "21 months": {"50e6": [1], "450e6": [6]}}))
    first = all_axes(figure)[0]
    heights = {c.get_label(): [b.get_height() for b in c] for c in first.containers if len(c) == 2}
    assert heights == {"CR": [10, 100], "PR": [30, 0], "SD": [20, 0], "PD": [30, 0], "NE": [10, 0]}
    bottoms = {c.get_label(): next(iter(c)).get_y() for c in first.containers if len(c) == 2}
    assert bottoms == {"CR": 0, "PR": 10, "SD": 40, "PD": 60, "NE": 90}
    (errors,) = [c for c in first.containers if c.get_label() == "_nolegend_" or len(c) == 3]
    points, _, (limits,) = errors
    np.testing.assert_allclose(points.get_ydata(), [40, 100])
    for segment, k in zip(limits.get_segments(), (4, 10), strict=True):
        np.testing.assert_allclose(segment[:, 1], wilson(k, 10), atol=1e-9)
    low, high = wilson(4, 10)
    assert f"40 % ({low:.0f}–{high:.0f})" in [t.get_text() for t in first.texts]
    assert [t.get_text() for t in first.get_xticklabels()] == ["50\nn = 10", "450\nn = 10"]
    assert first.get_xlabel() == "Dose (10⁶ CAR-T cells)"
    assert first.get_ylabel() == "Patients (%)"
    assert titles(figure) == ["6 months", "21 months"]
    assert "MR, PR, VGPR: minor, partial or very good partial response" in legend_texts(figure)
    assert figure.get_suptitle() == "Response by dose; above the bars the share with MR or better"


def test_response_bars_ungrouped_keep_every_category():
    given = {"a": ["PD", "SD", "MR", "PR", "VGPR", "CR"]}
    figure = drawn(plots.response_bars({"Best overall response": given}, grouped=False))
    (axis,) = all_axes(figure)
    shares = {c.get_label(): c[0].get_height() for c in axis.containers if len(c) == 1}
    assert set(shares) == {"CR", "VGPR", "PR", "MR", "SD", "PD"}
    np.testing.assert_allclose(list(shares.values()), 100 / 6)
    assert any(text.get_text().startswith("50 % (") for text in axis.texts)
    assert axis.get_xlabel() == "Arm"
    assert figure.get_suptitle() == "Response by arm; above the bars the share with PR or better"


def test_response_bars_of_nobody():
    figure = drawn(plots.response_bars({"6 months": {"a": [], "b": ["PR"]}}))
    assert "no patients" in [t.get_text() for t in all_axes(figure)[0].texts]


def test_response_over_time_stacks_to_all_patients():
    status = labels([[4, 6, 6, 1, 0], [2, 2, 0, 0, 0], [4, 4, 5, 5, 5], [3, 4, 4, 4, 1]])
    figure = drawn(plots.response_over_time(VISITS, {"450e6": status}))
    (axis,) = all_axes(figure)
    order = ["CR", "VGPR", "PR", "MR", "SD", "PD", "NE"]
    assert [to_hex(c.get_facecolor()[0]) for c in areas(axis)] == [
        style.CATEGORY_COLORS[name].lower() for name in order
    ]
    tops = np.zeros(5)
    for name, area in zip(order, areas(axis), strict=True):
        tops += 25 * (status == name).sum(axis=0)
        assert holds(vertices(area), VISITS / MONTH, tops)
    np.testing.assert_allclose(tops, 100)
    assert titles(figure) == ["450 × 10⁶ cells, n = 4"]
    assert "NE: not evaluable or not followed" in legend_texts(figure)


def test_response_over_time_ends_with_the_follow_up():
    status = np.full((2, 5), "PD")
    figure = drawn(plots.response_over_time(VISITS, {"a": status}, last_day={"a": [91.0, np.nan]}))
    not_followed = areas(all_axes(figure)[0])[-1]
    assert holds(vertices(not_followed), VISITS / MONTH, [50, 50, 50, 0, 0])
    assert holds(vertices(not_followed), VISITS / MONTH, [100] * 5)


# Survival


def test_kaplan_meier_curves_marks_medians_and_numbers_at_risk():
    rng = np.random.default_rng(7)
    made = {arm: kaplan_meier(np.round(rng.exponential(9, 80), 1), rng.random(80) < 0.7) for arm in ARMS}
    figure = drawn(plots.kaplan_meier(made, last=21))
    axis, table = all_axes(figure)
    for k, (arm, curve) in enumerate(made.items()):
        step, marks = axis.get_lines()[2 * k : 2 * k + 2]
        assert step.get_drawstyle() == "steps-post"
        np.testing.assert_array_equal(step.get_xdata(), curve.times)
        np.testing.assert_array_equal(step.get_ydata(), curve.survival)
        np.testing.assert_array_equal(marks.get_xdata(), curve.times[curve.n_censored > 0])
        inside = np.isfinite(curve.low)
        assert holds(vertices(areas(axis)[k]), curve.times[inside], curve.low[inside])
        median = curve.median
        expected = f"{style.arm_title(arm)}: {median.value:.1f} ({median.low:.1f}–{median.high:.1f}), "
        assert legend_texts(figure)[k] == expected + f"{curve.events}/80"
        numbers = [t.get_text() for t in table.texts if t.get_position()[1] == k]
        assert numbers == [str(n) for n in curve.at_risk(np.arange(0, 22, 3))]
    assert axis.get_ylabel() == "Progression-free survival (%)"
    assert axis.get_xlabel() == "Time since infusion (months)"
    assert [t.get_text() for t in axis.get_yticklabels()] == ["0", "20", "40", "60", "80", "100"]
    assert [t.get_text() for t in table.get_yticklabels()] == [style.arm_title(arm) for arm in ARMS]
    assert table.get_xlim() == axis.get_xlim() == (0, 21)
    assert "95 % limits" in axis.get_legend().get_title().get_text()
    assert "NE: not estimable" not in axis.get_legend().get_title().get_text()


@pytest.mark.parametrize(("time", "event"), [([5.0], [0]), ([0.0], [0]), ([3.0, 5, 9], [1, 1, 1]), ([5.0, 8], [0, 0])])
def test_kaplan_meier_without_events_or_with_nothing_but_events(time, event):
    curve = kaplan_meier(time, event)
    figure = drawn(plots.kaplan_meier({"a": curve}, what="Duration of response", unit="days", since="first response"))
    axis = all_axes(figure)[0]
    assert axis.get_xlabel() == "Time since first response (days)"
    assert "NE: not estimable" in axis.get_legend().get_title().get_text()
    assert f"{sum(event)}/{len(event)}" in legend_texts(figure)[0]


# Exposure


def test_exposure_quartiles_are_rates_with_wilson_limits():
    rng = np.random.default_rng(8)
    cmax = rng.lognormal(9, 1, 203)
    cmax[:3] = np.nan
    responses = {"ORR": rng.random(203) < 0.7, "CR": rng.random(203) < 0.2}
    figure = drawn(plots.exposure_quartiles({"Cmax (copies/µg DNA)": cmax, "AUC (d)": cmax}, responses))
    axis = all_axes(figure)[0]
    quartile = np.argsort(np.argsort(cmax[3:])) // 50
    for container, answers in zip(axis.containers, responses.values(), strict=True):
        points, _, (limits,) = container
        hits = np.bincount(quartile, weights=answers[3:])
        np.testing.assert_allclose(points.get_ydata(), 100 * hits / 50)
        for segment, k in zip(limits.get_segments(), hits, strict=True):
            np.testing.assert_allclose(segment[:, 1], wilson(k, 50))
    assert titles(figure) == ["Cmax, n = 200 of 203", "AUC, n = 200 of 203"]
    assert axis.get_xlabel() == "Cmax (copies/µg DNA)"
    ticks = [t.get_text().split("\n") for t in axis.get_xticklabels()]
    assert [(name, n) for name, _, n in ticks] == [(f"Q{i}", "n = 50") for i in (1, 2, 3, 4)]
    assert legend_texts(figure) == ["ORR", "CR"]


def test_exposure_ties_and_few_patients():
    figure = drawn(plots.exposure_quartiles({"Cmax": [0.0] * 6 + [7, 9, 1e4]}, {"ORR": [0] * 6 + [1] * 3}))
    ticks = [t.get_text() for t in all_axes(figure)[0].get_xticklabels()]
    assert ticks == ["group 1\n0–7\nn = 7", "group 2\n9–10k\nn = 2"]
    figure = drawn(plots.exposure_quartiles({"Cmax": [1.0, 2.5e6]}, {"ORR": [0, 1]}))
    ticks = [t.get_text() for t in all_axes(figure)[0].get_xticklabels()]
    assert ticks == ["group 1\n1–1\nn = 1", "group 2\n2.5M–2.5M\nn = 1"]


# All pictures

EIGHT = tuple(f"{dose}e6" for dose in (10, 25, 50, 100, 150, 300, 450, 800))
PICTURES = {
    "transgene": lambda n, arms: plots.transgene(DAYS, curves(n, arms)),
    "marker_change": lambda n, arms: plots.marker_change(DAYS, {"Serum M-protein": changes(n, arms)}),
    "spider": lambda n, arms: plots.spider(DAYS, changes(n, arms), groups(n, arms)),
    "waterfall": lambda n, arms: plots.waterfall({a: v[:, 0] for a, v in changes(n, arms).items()}, groups(n, arms)),
    "swimmer": lambda n, arms: plots.swimmer(VISITS, np.full((n, 5), 4), np.full(n, 200.0)),
    "response_bars": lambda n, arms: plots.response_bars({"6 months": groups(n, arms), "21 months": groups(n, arms)}),
    "response_over_time": lambda n, arms: plots.response_over_time(VISITS, {a: np.full((n, 5), 4) for a in arms}),
    "kaplan_meier": lambda n, arms: plots.kaplan_meier(
        {a: kaplan_meier(np.arange(n) + 1.0, np.arange(n) % 2) for a in arms}
    ),
    "by_response": lambda n, arms: plots.by_response(DAYS, curves(n, ("a",))["a"], groups(n, ("a",))["a"]),
    "exposure_quartiles": lambda n, arms: plots.exposure_quartiles(
        {"Cmax (copies/µg DNA)": np.arange(n)}, {"ORR": np.arange(n) % 2}
    ),
    "visual_predictive_check": lambda n, arms: plots.visual_predictive_check(
        DAYS, curves(n, arms), {a: v[None] for a, v in curves(n, arms, seed=9).items()}
    ),
}


@pytest.mark.parametrize("arms", [ARMS[:1], EIGHT], ids=["one arm", "eight arms"])
@pytest.mark.parametrize("n", [1, 30])
@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_of_few_and_many_is_labeled(name, n, arms):
    figure = drawn(PICTURES[name](n, arms))
    assert figure.get_suptitle()
    labels_x = {axis.get_xlabel() for axis in all_axes(figure)} - {""}
    labels_y = {axis.get_ylabel() for axis in all_axes(figure)} - {""}
    assert labels_x
    assert labels_y
    written = [figure.get_suptitle(), *titles(figure), *legend_texts(figure)]
    written += [t.get_text() for axis in all_axes(figure) for t in axis.get_xticklabels()]
    assert any(f"n = {n}" in text or f"/{n}" in text for text in written) or name == "by_response"
    box = figure.bbox_inches
    tight = figure.get_tightbbox()
    assert tight.x0 > -0.05
    assert tight.x1 < box.x1 + 0.05


NOTHING = np.full((4, DAYS.size), np.nan)
EMPTY = {
    "transgene": (lambda: plots.transgene(DAYS, {"a": NOTHING, "b": NOTHING}), "no values", "n = 0 of 4"),
    "marker_change": (lambda: plots.marker_change(DAYS, {"M": {"a": NOTHING}}), "no values", "n = 0 of 4"),
    "spider": (lambda: plots.spider(DAYS, {"a": NOTHING}, {"a": [None] * 4}), "no values", "n = 4"),
    "waterfall": (
        lambda: plots.waterfall({"a": NOTHING[:, 0]}, {"a": [0] * 4}),
        "no values",
        "n = 4, 4 without a value",
    ),
    "swimmer": (
        lambda: plots.swimmer(VISITS, np.zeros((4, 5), int), NOTHING[:, 0]),
        "nobody was followed",
        "first 0 of 4",
    ),
    "by_response": (lambda: plots.by_response(DAYS, NOTHING, ["PR"] * 4), "no values", "PR, n = 0 of 4"),
    "no category": (lambda: plots.by_response(DAYS, NOTHING, [0] * 4), "nobody has a response category", ""),
    "exposure_quartiles": (
        lambda: plots.exposure_quartiles({"Cmax": NOTHING[:, 0]}, {"ORR": [1, 0, 1, 0]}),
        "no values",
        "n = 0 of 4",
    ),
    "visual_predictive_check": (
        lambda: plots.visual_predictive_check(DAYS, {"a": NOTHING}, {"a": NOTHING[None]}),
        "nothing observed",
        "n = 0 of 4",
    ),
    "response_over_time": (
        lambda: plots.response_over_time(VISITS, {"a": np.zeros((0, 5), int)}),
        "no patients",
        "n = 0",
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_panel_says_why(name):
    make, message, title = EMPTY[name]
    figure = drawn(make())
    assert message in [text.get_text() for axis in all_axes(figure) for text in axis.texts]
    assert not title or any(title in text for text in titles(figure))


WRONG = {
    "no arms": lambda: plots.transgene(DAYS, {}),
    "a row too short": lambda: plots.transgene(DAYS, {"a": np.ones((3, 4))}),
    "one patient without a row": lambda: plots.transgene(DAYS, {"a": np.ones(DAYS.size)}),
    "times not in order": lambda: plots.transgene(DAYS[::-1], curves()),
    "no times": lambda: plots.transgene([], {"a": np.ones((3, 0))}),
    "no markers": lambda: plots.marker_change(DAYS, {}),
    "other arms": lambda: plots.marker_change(DAYS, {"a": changes(), "b": changes(arms=("x",))}),
    "arm without groups": lambda: plots.spider(DAYS, changes(), {"50e6": [1] * 40}),
    "too few groups": lambda: plots.spider(DAYS, changes(), groups(39)),
    "no waterfall": lambda: plots.waterfall({}, {}),
    "waterfall of visits": lambda: plots.waterfall(changes(), groups()),
    "swimmer's days": lambda: plots.swimmer(VISITS[:4], np.ones((3, 5), int), [1, 2, 3]),
    "swimmer's events": lambda: plots.swimmer(VISITS, np.ones((2, 5), int), [1, 2], events={"x": [1]}),
    "seven events": lambda: plots.swimmer(
        VISITS, np.ones((2, 5), int), [1, 2], events={str(i): [1, 1] for i in range(7)}
    ),
    "no landmark": lambda: plots.response_bars({}),
    "landmark without arms": lambda: plots.response_bars({"6 months": {}}),
    "last days of others": lambda: plots.response_over_time(
        VISITS, {"a": np.ones((2, 5), int)}, last_day={"b": [1, 2]}
    ),
    "too few last days": lambda: plots.response_over_time(VISITS, {"a": np.ones((2, 5), int)}, last_day={"a": [1]}),
    "no statuses": lambda: plots.response_over_time(VISITS, {}),
    "no curves": lambda: plots.kaplan_meier({}),
    "best of others": lambda: plots.by_response(DAYS, curves()["50e6"], [1, 2]),
    "no exposure": lambda: plots.exposure_quartiles({}, {"ORR": [1]}),
    "five responses": lambda: plots.exposure_quartiles({"Cmax": [1]}, {str(i): [1] for i in range(5)}),
    "response in words": lambda: plots.exposure_quartiles({"Cmax": [1, 2]}, {"ORR": ["yes", "no"]}),
    "simulated of another arm": lambda: plots.visual_predictive_check(DAYS, curves(), {"x": NOTHING[None]}),
    "simulated without replicates": lambda: plots.visual_predictive_check(DAYS, {"a": NOTHING}, {"a": NOTHING}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="give") as refused:
        WRONG[name]()
    assert "\n" not in str(refused.value)


def test_the_gallery_is_whole_and_light():
    docs = Path(__file__).parents[2] / "docs"
    shown = set(re.findall(r"!\[.*\]\((gallery/.*\.png)\)", (docs / "gallery.md").read_text()))
    there = {str(path.relative_to(docs)) for path in (docs / "gallery").glob("*.png")}
    assert shown == there
    assert len(shown) == 14
    assert all((docs / name).stat().st_size < 150_000 for name in shown)
