"""Compiles a run's training step for TPUs that are not here: does it fit, and what does it cost?

    python -m train.compile --config=configs/gpt.py --topology=v5e:2x4 --config.mesh.fsdp=8 \\
        --config.mesh.data=1

Needs libtpu (pip install 'jax[tpu]', of the same version) and no TPU. Exit codes: 0 it fits, 1 it
does not, 2 bad input.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.compile.ahead import Cost, Report

GiB = 2**30


def show(report: "Report") -> None:
    """Prints a report as two small tables and the verdict."""
    from rich.console import Console
    from rich.markup import escape

    console = Console()

    def say(line: str) -> None:
        console.print(escape(line), highlight=False, soft_wrap=True)

    where = f"{report.slices} slices of {report.topology}" if report.slices > 1 else report.topology
    axes = " x ".join(f"{name}={size}" for name, size in report.mesh.items() if size > 1)
    devices = f"{report.devices} device{'s' * (report.devices > 1)}"
    say(
        f"{where}: {devices}, mesh {axes or 'of one'}; N {report.parameters:,}; "
        f"compiled in {report.compile_seconds:.0f} s"
    )
    memory, cost = report.memory, report.cost
    if memory.arguments is None:
        say(
            f"does not fit: the compiler needs {memory.total / GiB:.2f} GiB of HBM on a device, "
            f"which has {memory.available / GiB:.2f}"
        )
        return
    verdict = "fits" if memory.fits else "does not fit"
    verdict += f": {memory.total / GiB:.2f} of {memory.available / GiB:.2f} GiB of HBM"
    if cost is None:
        say(f"{verdict}; what a step costs is not known, since this compiler's text is not")
        say(report.unread)
        return
    _show_cost(report, cost, console)
    took = cost.seconds["step"]
    say(f"{verdict}; a step takes at least {took:.3g} s, MFU at most {cost.mfu:.1%}")


def _show_cost(report: "Report", cost: "Cost", console) -> None:
    from rich.table import Table

    memory, seconds = report.memory, cost.seconds
    shown = Table("one step on one device", "", "at least", title_justify="left")
    for part in ("arguments", "outputs", "temporaries", "program"):
        shown.add_row(f"HBM: {part}", f"{getattr(memory, part) / GiB:.3f} GiB", "")
    share = cost.model_flops / cost.flops if cost.flops else 0
    shown.add_row("FLOPs", f"{cost.flops:.4g}", f"{seconds['compute']:.3g} s")
    shown.add_row("  of the model", f"{cost.model_flops:.4g} ({share:.0%})", "")
    shown.add_row("HBM traffic", f"{cost.hbm_bytes / 1e9:.4g} GB", f"{seconds['hbm']:.3g} s")
    for network in ("ici", "dcn"):
        size = sum(t.bytes for t in cost.traffic if t.network == network)
        if size:
            took = f"{seconds[network]:.3g} s"
            shown.add_row(f"{network.upper()} traffic", f"{size / 1e9:.4g} GB", took)
    console.print(shown)
    if cost.traffic:
        shown = Table("collective", "along", "network", "a step", "MB received")
        for one in cost.traffic:
            row = (one.kind, one.axes, one.network, str(one.count), f"{one.bytes / 1e6:.4g}")
            shown.add_row(*row)
        console.print(shown)
    if cost.unknown_kernels:
        console.print(f"{cost.unknown_kernels} custom kernels state no FLOPs: theirs are not here")
    if cost.unknown_loops:
        console.print(f"{cost.unknown_loops} loops have no known length: counted once")
