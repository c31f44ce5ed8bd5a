"""Whether the runs of a plan fit TPUs that are not here: their steps are compiled for them."""

from collections import defaultdict

from scaling.plan import memory
from scaling.runs.plans import Plan
from train import config as configuration
from train.cli import InputError
from train.compile import ahead

GiB = 2**30


def check(planned: Plan, topology: str) -> bool:
    """Prints what each shape among the runs needs of a device's HBM; returns whether all fit.

    Runs that differ in seed, learning rate, decay and steps alone have one shape. A compile takes
    from seconds to some minutes, so that each line is printed when it is known, the dearest step
    first.

    Raises:
      InputError: no such topology, no libtpu, or a run cannot be split over these devices.
    """
    shapes = defaultdict(list)
    for run in sorted(planned.runs, key=lambda run: -run.C["forward"] / run.config["steps"]):
        shapes[memory.shape_of(configuration.resolve(run.config))].append(run.run)
    fit = 0
    for shape, names in shapes.items():
        try:
            need = ahead.compile_step(shape, topology).memory
        except InputError as error:
            raise InputError(f"{names[0]} on {topology}: {error}") from None
        fit += need.fits
        others = f" and {len(names) - 1} like it" if len(names) > 1 else ""
        print(
            f"{names[0]}{others}: {need.total / GiB:.2f} of {need.available / GiB:.2f} GiB of HBM "
            f"on a device: {'fits' if need.fits else 'does not fit'}",
            flush=True,
        )
    print(f"compiled for {topology}: {fit} of {len(shapes)} shapes of runs fit")
    return fit == len(shapes)
