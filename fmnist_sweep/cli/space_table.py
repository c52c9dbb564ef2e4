"""Prints a sweep's search space as a table, with the share of infeasible points."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from fmnist_sweep.sweep.plan import SweepPlan, infeasible_share

_SAMPLES = 1000


def print_space(plan: SweepPlan, out: Console) -> None:
    """Print the searched values, their ranges and conditions, and the share of infeasible
    points."""
    table = Table(title="Search space", title_justify="left")
    for name in ("path", "values", "where"):
        table.add_column(name, overflow="fold")
    for leaf in plan.space.leaves:
        table.add_row(leaf.path, str(leaf.domain), leaf.where)
    out.print(table)
    infeasible = infeasible_share(plan.space, plan.why_infeasible, _SAMPLES)
    out.print(f"{infeasible.share:.1%} of {_SAMPLES} sampled points are infeasible", soft_wrap=True)
    if infeasible.example is not None:
        out.print(f"  for example: {infeasible.example}", soft_wrap=True)
