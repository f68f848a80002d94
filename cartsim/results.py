"""What every result offers, whatever was asked.

==============  =========================================================================================
``frame``       the main table, tidy
``summary``     a small table of what was found
``failures``    who or what could not be computed, and why; empty if nothing failed
``warnings``    sentences that a reader of the result should know
``made_by``     model, settings and versions
``save(dir)``   all tables as CSV files and what made them as JSON
``plot``        pictures: ``result.plot()`` is the usual one, ``result.plot.NAME()`` another
==============  =========================================================================================

A result prints as a few lines, and as a table in a notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.files import save_tables

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12  # rows of the summary that are printed


class Result:
    """The base of all results; a subclass has at least ``frame`` and ``made_by``, and says its name in ``what``."""

    what = "result"
    frame: pd.DataFrame
    made_by: Mapping[str, Any]

    @property
    def summary(self) -> pd.DataFrame:
        """A small table of what was found; here the main table itself."""
        return self.frame

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be computed; a result that knows of none has an empty table."""
        import pandas as pd

        return pd.DataFrame()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know, of replicates too."""
        failed, again = len(self.failures), getattr(self, "replicates", None)
        own = (f"{failed} failed; see failures",) if failed else ()
        return own + (again.warnings if isinstance(again, Result) else ())

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by the name of the file that `save` writes."""
        return {f"{self._stem}.csv": self.frame}

    def about(self) -> dict[str, Any]:
        """What `save` writes beside the tables."""
        return dict(self.made_by)

    def save(self, folder: str | Path) -> list[Path]:
        """Write every table and what made them; returns the paths.

        Raises
        ------
        InputError
            Where nothing can be written.
        """
        return save_tables(folder, self.tables(), (f"{self._stem}.json", self.about()))

    @cached_property
    def plot(self) -> Any:
        """Pictures of this result, each a matplotlib Figure."""
        # The one place that looks forward: a result does not know how it is drawn, plots knows every result.
        return import_module("cartsim.plots").pictures_of(self)

    @property
    def _stem(self) -> str:
        return self.what.replace(" ", "_").replace("-", "_")

    def _title(self) -> str:
        return f"{self.what} of {self.made_by.get('model', 'a model')}"

    def __repr__(self) -> str:
        table = _clipped(self.summary).to_string(max_cols=12, line_width=110, float_format="{:.4g}".format)
        lines = [self._title(), table]
        if (more := len(self.summary) - SHOWN) > 0:
            lines.append(f"... {more} more rows in .summary")
        lines += [f"! {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        warned = "".join(f"<br>! {escape(warning)}" for warning in self.warnings)
        table = _clipped(self.summary).to_html(max_cols=20, float_format="{:.4g}".format, border=0, index=False)
        more = len(self.summary) - SHOWN
        rest = f"<small>... {more} more rows in <code>.summary</code></small>" if more > 0 else ""
        return f"<b>{escape(self._title())}</b>{table}{rest}{warned}"


def _clipped(table: pd.DataFrame) -> pd.DataFrame:
    return table.head(SHOWN)
