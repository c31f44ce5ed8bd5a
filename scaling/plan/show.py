"""Prints a plan: every run, what it costs in compute, time and memory, and what to expect."""

import math

from rich.markup import escape
from rich.table import Table

from scaling.console.printed import console, table
from scaling.console.printed import show as show_table
from scaling.plan import answer, memory, prices
from scaling.runs.numbers import count, size
from scaling.runs.plans import Plan
from train import config as configuration
from train.cli import InputError


def show(planned: Plan, rate: prices.Rate | None) -> None:
    """The table of runs, what all of it costs, and how sure the study is expected to be."""
    on = console()
    say = lambda line: on.print(escape(line), highlight=False)  # noqa: E731
    needs = memory.of_runs([configuration.resolve(run.config) for run in planned.runs])
    show_table(on, _runs(planned, needs, rate))
    total = sum(run.C["forward"] for run in planned.runs)
    time, cost = prices.spent(rate, total)
    words = [f"{len(planned.runs)} runs, {total:.3g} FLOPs in all", time, cost]
    say(", ".join(word for word in words if word))
    if rate is not None:
        say(f"rate: {rate.words}")
    say(_memory(planned, needs, rate))
    try:
        expected = answer.expected(planned)
    except InputError as error:
        say(f"expected widths: not known ({error})")
        return
    if expected is None:
        say("expected widths: not known; name the law to expect with --config.law")
    else:
        for line in in_words(planned, expected):
            say(line)
        if rate is not None and answer.model_of(planned) is not None:
            on.print("\nWhat to do with the budget", style="bold")
            for line in answer.in_words(planned, rate, expected):
                say(line)
            show_table(on, answer.changes(planned, expected))


def _runs(planned: Plan, needs: list[memory.Memory], rate: prices.Rate | None) -> Table:
    shared = _shared(planned)
    cost = () if rate is None else ("wall time", "cost")
    columns = ("N", "D", "C", "epochs", "steps", "batch", "rate", "memory", *cost)
    title = ", ".join([f"Runs of the study {planned.study['name']}", *shared.values()])
    shown = table(title, "", *(name for name in columns if name not in shared))
    for run, need in zip(planned.runs, needs):
        row = [
            run.run,
            f"{run.N['total']:,}",
            count(run.D),
            f"{run.C['forward']:.3g}".replace("+", ""),
        ]
        row.append("-" if run.epochs is None else f"{run.epochs:.3f}")
        row += [f"{run.config['steps']:,}", str(run.config["batch_size"])]
        row += [f"{run.config['optimizer']['learning_rate']:.3g}", size(need.total)]
        row += [] if rate is None else prices.spent(rate, run.C["forward"])
        shown.add_row(*(escape(x) for k, x in zip(("", *columns), row) if k not in shared))
    return shown


def _shared(planned: Plan) -> dict[str, str]:
    """Columns that a line can stand for, and the words of it: there is room for few."""
    batches = {run.config["batch_size"] for run in planned.runs}
    epochs = [run.epochs for run in planned.runs]
    found = {"batch": f"batches of {batches.pop()}"} if len(batches) == 1 else {}
    if None in epochs:
        return found | ({"epochs": "endless data"} if epochs.count(None) == len(epochs) else {})
    return found | ({"epochs": f"at most {max(epochs):.3g} epochs"} if max(epochs) <= 1 else {})


def _memory(planned: Plan, needs: list[memory.Memory], rate: prices.Rate | None) -> str:
    """What the memory of the run that needs most is made of, and whether the devices have it."""
    most = max(range(len(needs)), key=lambda place: needs[place].total)
    need = needs[most]
    words = (
        f"memory: {planned.runs[most].run} needs most: {size(need.state)} of parameters, gradients "
        f"and optimizer, about {size(need.activations)} of activations (an estimate)"
    )
    if rate is None or rate.memory is None:
        return words
    there = rate.memory * rate.devices
    parts = memory.parts_that_fit(configuration.resolve(planned.runs[most].config), there)
    if parts is None:
        return f"{words}; {size(there)} there: does not fit: more devices, or smaller sizes"
    split = "" if rate.devices == 1 else ", parameters split over them (config.mesh.fsdp)"
    how = f" with --config.accumulate={parts}" if parts > 1 else ""
    return f"{words}; {size(there)} there: fits{how}{split}"


def in_words(planned: Plan, expected: answer.Expected) -> list[str]:
    """What a study is expected to say, for people."""
    made, target = expected.promise, expected.target
    fitted = sum(run.role == "fit" for run in planned.runs)
    lines = [
        f"expected of a law fitted to the {fitted} runs, 90% intervals, were {expected.law} true "
        f"and the noise of a loss {expected.noise:.2%} ({expected.noise_source}):"
    ]
    if math.isfinite(made.N_width):
        lines.append(
            f"  N* at C = {target.C:.3g}: {made.N[0]:.2f} to {made.N[1]:.2f} times its value; its "
            f"exponent: {made.exponent[0]:.3f} to {made.exponent[1]:.3f}, "
            f"{made.exponent_width:.3f} wide"
        )
    else:
        lines.append(
            f"  N* at C = {target.C:.3g} and its exponent: open, {made.without:.0%} of the "
            "simulated studies find no best size there"
        )
    lines.append(
        f"  loss at C = {target.C:.3g}: {made.loss_width:.2%} wide; a forecast adds the noise of "
        "the run itself and the doubt about the law's form"
    )
    return lines
