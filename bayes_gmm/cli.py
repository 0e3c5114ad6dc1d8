"""The command line: `bayes-gmm analyze faithful -k 2 --out out/`.

Only typer is loaded here; each command loads what it needs, so that ``--help`` answers at once.
"""

import csv
import shlex
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bayes_gmm.errors import CollapseError, FileFormatWarning, InputError

BAD_INPUT, INTERRUPTED = 2, 130
Engine = Literal["auto", "gibbs", "nuts", "pymc", "vb"]
AnalysisPrior = Literal["default", "independent", "hierarchical"]
FitPrior = Literal["none", "default"]
STRUCTURES = (
    "EII, VII, EEI, VEI, EVI, VVI, EEE, VEE, EVE, VVE, EEV, VEV, EVV or VVV; E or V for one column"
)
CRITERIA = "bic, icl, aic, modes, bootstrap, loo, evidence and posterior"
DRAWN = "EII, VII, EEI, VVI, EEE, VVV"
# Options of `select` that mean something else in `analyze`, or are set by what was found.
OF_SELECT_ALONE = ("data", "covariance", "out", "prior")
# Messages begin with the name of an argument; the command line shows its option.
OPTION_NAMES = (
    *("covariance", "prior", "engine", "relabel", "criterion", "separation", "sep", "decimal"),
    *("draws", "tune", "chains", "cores", "seed", "ci_prob", "criteria"),
)
OPTIONS = {"n_components": "-k", "n_starts": "--starts", "n": "-n", "n_bootstrap": "--bootstrap"}
OPTIONS |= {name: f"--{name.replace('_', '-')}" for name in OPTION_NAMES}

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A built-in data set, or the path of a CSV or Parquet file."
    ),
]
Columns = Annotated[str | None, typer.Option(help="Columns to use, such as a,b,c; default: all.")]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="Leave out rows with missing values.")
]
Sep = Annotated[
    str | None,
    typer.Option(metavar="SIGN", help="Field separator of a text file; detected by default."),
]
Decimal = Annotated[
    str | None, typer.Option(metavar="MARK", help="Decimal mark, . or , (detected by default).")
]
Encoding = Annotated[
    str | None, typer.Option(help="Encoding, such as utf-8 or latin-1; detected by default.")
]
NoHeader = Annotated[
    bool,
    typer.Option("--no-header", help="The file has no header line; columns become x0, x1, ..."),
]
Na = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MARK", help="Another code for a missing value, such as '?'; may be repeated."
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column with row labels, such as sample names."),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same results.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error that the user can fix is one line and exit code 2."""
    try:
        app(args=arguments, prog_name="bayes-gmm")
    except (InputError, CollapseError) as error:
        argument, space, rest = str(error).partition(" ")
        typer.echo(f"error: {OPTIONS.get(argument, argument)}{space}{rest}", err=True)
        sys.exit(BAD_INPUT)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"error: {where}{error.strerror or error}", err=True)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bayes-gmm {version('bayes-gmm')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Gaussian mixtures: EM, the posterior, and an honest comparison of the two."""


@app.command(short_help="Fit, sample, compare, check and report.")
def analyze(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the results; created if missing.")],
    k: Annotated[
        int | None,
        typer.Option(
            "-k", "--components", help="Number of components; by default unknown, and found."
        ),
    ] = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_header: NoHeader = False,
    na: Na = None,
    labels: Labels = None,
    covariance: Annotated[
        str | None,
        typer.Option(
            metavar="STRUCTURE",
            help=f"Covariance structure: {STRUCTURES}. The posterior uses it too if it is one of "
            f"{DRAWN}, and VVV otherwise. By default "
            "VVV, or without -k the best of these by BIC.",
        ),
    ] = None,
    starts: Annotated[int, typer.Option(help="Number of EM starting points.")] = 30,
    seed: Seed = 0,
    draws: Annotated[int, typer.Option(help="Draws per chain.")] = 1000,
    tune: Annotated[int, typer.Option(help="Tuning steps per chain before the draws.")] = 1000,
    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4,
    cores: Annotated[
        int | None, typer.Option(help="Chains to run in parallel; by default one per core.")
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Sampler. auto: gibbs; nuts if components almost coincide; pymc if the prior is "
            "not conjugate. vb: variational Bayes, a fast approximation."
        ),
    ] = "auto",
    relabel: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="Relabelling method: pivot, ecr, ecr-iterative, stephens or data; or order the "
            "components by a parameter, with ordering:weights or ordering:means[COLUMN].",
        ),
    ] = "pivot",
    prior: Annotated[
        AnalysisPrior,
        typer.Option(
            help="Prior of MAP estimate and posterior, scaled to the data. default: conjugate. "
            "independent: standard deviations, correlations and means independent. hierarchical: "
            "common scale of the covariances learned. The last two have no MAP estimate, and "
            "independent is sampled by pymc."
        ),
    ] = "default",
    ci_prob: Annotated[float, typer.Option(help="Probability of credible intervals.")] = 0.95,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Fit a mixture by EM, sample its posterior, compare the two, check the fit, write a report.

    Writes analysis.nc, clusters.csv, report.html and pictures/*.png into the folder, each as soon
    as it is complete; other files there are not touched.

    Ctrl-C during sampling stops the sampler: the analysis continues with the draws made so far,
    says so in the report, and exits with code 130. A second Ctrl-C, or one at any other time,
    stops at once with code 130; the files written so far are complete. Invalid input exits with
    code 2.
    """
    from rich.console import Console

    from bayes_gmm.pipeline import Pipeline, titled

    console = Console(stderr=True, quiet=quiet, highlight=False)
    given = {"sep": sep, "decimal": decimal, "encoding": encoding, "header": not no_header}
    frame = _read(data, columns, drop_missing, na=na or (), labels=labels, **given)
    n_dropped, name = frame.attrs["n_dropped"], Path(data).name
    title = f"{name}: {titled(k)}"
    if n_dropped:
        title += f", {n_dropped} incomplete row{'s' * (n_dropped != 1)} left out"
    pipeline = Pipeline(
        X=frame,
        n_components=k,
        folder=out,
        title=title,
        covariance=covariance,
        n_starts=starts,
        prior=prior,
        engine=engine,
        relabel=relabel,
        seed=seed,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        ci_prob=ci_prob,
        progressbar=console.is_terminal and not quiet,
    )
    _line(console, "data", f"{name}: {_read_as(frame)}")
    with _warnings_as_lines(console):
        for stage in pipeline.stages:
            started = time.perf_counter()
            with _working(console, stage.title, stage.shows_progress):
                outcome = stage.run()
            _line(console, stage.title, outcome, time.perf_counter() - started)
    if not quiet:
        found = pipeline.results
        if "comparison" in found:
            typer.echo(f"\n{found['comparison']}")
        typer.echo(f"\n{_verdicts(found)}\n")
        typer.echo("Written: " + ", ".join(str(path) for path in pipeline.written))
    if pipeline.interrupted:
        typer.echo(f"Interrupted: {pipeline.interrupted}; all results use only these.", err=quiet)
        raise typer.Exit(INTERRUPTED)


@app.command(name="select", short_help="Compare structures and numbers of components.")
def select_model(
    context: typer.Context,
    data: Data,
    most: Annotated[int, typer.Option("--most", help="Largest number of components.")] = 9,
    covariance: Annotated[
        str,
        typer.Option(
            metavar="STRUCTURES",
            help=f"Covariance structures: all, or a list such as VVV,EEE of {STRUCTURES}.",
        ),
    ] = "all",
    criterion: Annotated[str, typer.Option(help="Criterion: bic, icl or aic.")] = "bic",
    prior: Annotated[
        FitPrior, typer.Option(help="none: maximum likelihood. default: MAP, conjugate prior.")
    ] = "none",
    starts: Annotated[int, typer.Option(help="Number of EM starting points of each fit.")] = 30,
    out: Annotated[Path | None, typer.Option(help="PNG file for a plot of the criterion.")] = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_header: NoHeader = False,
    na: Na = None,
    labels: Labels = None,
    seed: Seed = 0,
) -> None:
    """Fit every covariance structure with 1, 2, ... components, and report the best.

    Prints the criterion of every fit (smaller is better) and, with --out, plots it. The last line
    is the command that analyzes the best.
    """
    import bayes_gmm as bg
    from bayes_gmm.data.writing import require_place

    require_most(most)
    if out is not None:
        require_place(out)
    given = {"sep": sep, "decimal": decimal, "encoding": encoding, "header": not no_header}
    frame = _read(data, columns, drop_missing, na=na or (), labels=labels, **given)
    typer.echo(_read_as(frame))
    found = bg.select(
        frame,
        range(1, most + 1),
        covariance=covariance if covariance == "all" else covariance.split(","),
        prior=None if prior == "none" else prior,
        criterion=criterion,
        n_starts=starts,
        seed=seed,
        progressbar=sys.stderr.isatty(),
    )
    for remark in found.remarks:
        typer.echo(f"warning: {remark}", err=True)
    typer.echo(str(found))
    if out is not None:
        bg.plots.selection(found).savefig(out)
        typer.echo(f"Written: {out}")
    best = found.best.attrs["n_components"], found.best.attrs["covariance"]
    typer.echo(f"Next: {_analyze_line(context, data, *map(str, best))}")


@app.command(name="how-many", short_help="Ask how many clusters there are, by every criterion.")
def how_many(
    context: typer.Context,
    data: Data,
    most: Annotated[int, typer.Option("--most", "--max", help="Largest number of components.")] = 9,
    criteria: Annotated[
        str,
        typer.Option(metavar="NAMES", help=f"all, or a list such as bic,icl,modes of {CRITERIA}."),
    ] = "all",
    covariance: Annotated[
        str,
        typer.Option(
            metavar="STRUCTURE",
            help=f"Covariance structure: {STRUCTURES}. Criteria that sample the posterior take one "
            f"of {DRAWN}.",
        ),
    ] = "VVV",
    prior: Annotated[
        FitPrior,
        typer.Option(help="Of the fits. none: maximum likelihood. default: MAP, conjugate prior."),
    ] = "none",
    starts: Annotated[int, typer.Option(help="Number of EM starting points of each fit.")] = 30,
    bootstrap: Annotated[int, typer.Option(help="Samples of the bootstrap test.")] = 99,
    draws: Annotated[int, typer.Option(help="Draws per chain.")] = 1000,
    cores: Annotated[
        int | None, typer.Option(help="Fits or chains to run in parallel; by default one per core.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="PNG file for a plot of all criteria.")] = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_header: NoHeader = False,
    na: Na = None,
    labels: Labels = None,
    seed: Seed = 0,
) -> None:
    """Ask how many clusters there are, by every criterion, and say where they agree.

    Prints the value of each criterion for 1, 2, ... components, its answer, and what question it
    answers; with --out, plots them. The last line is the command that analyzes the fit with the
    least BIC.
    """
    import bayes_gmm as bg
    from bayes_gmm.data.writing import require_place

    require_most(most)
    if out is not None:
        require_place(out)
    given = {"sep": sep, "decimal": decimal, "encoding": encoding, "header": not no_header}
    frame = _read(data, columns, drop_missing, na=na or (), labels=labels, **given)
    typer.echo(_read_as(frame))
    found = bg.how_many(
        frame,
        range(1, most + 1),
        criteria=criteria if criteria == "all" else criteria.split(","),
        covariance=covariance,
        prior=None if prior == "none" else prior,
        n_starts=starts,
        n_bootstrap=bootstrap,
        draws=draws,
        seed=seed,
        cores=cores,
        progressbar=sys.stderr.isatty(),
    )
    typer.echo(str(found))
    if out is not None:
        bg.plots.how_many(found).savefig(out)
        typer.echo(f"Written: {out}")
    best = found.selection.best.attrs
    chosen = str(best["n_components"]), best["covariance"]
    typer.echo(f"Next: {_analyze_line(context, data, *chosen)}")


@app.command(short_help="List the built-in data sets, or export one.")
def datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Data set to describe or export.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to export it to.")] = None,
) -> None:
    """List the built-in data sets, describe one, or export it with its labels."""
    from bayes_gmm import datasets as built_in

    if name is None:
        if out is not None:
            raise InputError("--out needs a name: for example, datasets iris --out iris.csv")
        for known in built_in.names():
            one = built_in.describe(known)
            missing = f" ({one.missing} incomplete)" if one.missing else ""
            typer.echo(f"{one.name:<10} {one.title}, {one.rows} rows{missing}")
            columns = [f"{name} [{unit}]" for name, unit in one.measurements.items()]
            typer.echo(textwrap.indent(textwrap.fill(", ".join(columns), 84), " " * 11))
    elif out is None:
        typer.echo(str(built_in.describe(name)))
    else:
        built_in.load(name, labels=True).to_csv(out, index=False)
        typer.echo(f"Written: {out}")


@app.command(short_help="Simulate data from a random mixture, or from a saved result.")
def simulate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    n: Annotated[int, typer.Option("-n", "--rows", help="Number of rows.")] = 500,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE.nc", help="Use the point estimate of a saved result."),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--components", help="Number of components.")] = 3,
    d: Annotated[int, typer.Option("-d", "--features", help="Number of features.")] = 2,
    separation: Annotated[
        float, typer.Option(help="Smallest distance between two means, in standard deviations.")
    ] = 3.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
) -> None:
    """Simulate data from a random mixture, or from the point estimate of a saved result.

    The parameters of a random mixture are drawn from a conjugate prior under which components have
    standard deviations of about 1, and drawn again until all means are at least --separation
    apart; the columns are x0, x1, ... A saved result is a file written by analyze or bg.save; the
    columns keep its names. The column z has the label of each row as text (a, b, ...), so that it
    can't be mistaken for a measurement.
    """
    from bayes_gmm.simulation import Mixture

    if source is not None:
        for name, option in {"k": "-k", "d": "-d", "separation": "--separation"}.items():
            if str(context.get_parameter_source(name)) != "ParameterSource.DEFAULT":
                raise InputError(f"--from takes the mixture from {source}: omit {option}")
        mixture = Mixture.saved(source)
    else:
        mixture = Mixture.random(k, d, separation, seed)
    mixture.rows(n, seed).to_csv(out, index=False)
    typer.echo(f"{_aligned(mixture.table())}\n\nWritten: {out} ({n} rows)")
    size = mixture.parameters.n_components
    chosen = shlex.quote(",".join(mixture.features))
    typer.echo(f"Next: bayes-gmm analyze {out} -k {size} --columns {chosen} --out {out.stem}")


def require_most(most: int) -> None:
    """Check the largest number of components."""
    if most < 1:
        raise InputError(f"--most is {most}: give a largest number of components of at least 1")


def _read(data: str, columns: str | None, drop_missing: bool, **given: Any) -> Any:
    """Load a built-in data set or a file; its attrs say how it was read."""
    from bayes_gmm import datasets as built_in
    from bayes_gmm.data.columns import select
    from bayes_gmm.data.faults import Faults
    from bayes_gmm.data.files import read

    chosen = None if columns is None else next(csv.reader([columns], skipinitialspace=True), [])
    if data in built_in.names():
        frame = built_in.load(data, labels=chosen is not None)
        faults = Faults(data, by_command=True)
        frame, n_dropped = select(frame, chosen, drop_missing, what=data, faults=faults)
        frame.attrs |= {"read_as": "built in", "n_dropped": n_dropped}
        return frame
    if not Path(data).exists() and not Path(data).suffix:
        raise InputError(
            f"{data} is neither a file nor a built-in data set: give the path of a file, or one of "
            f"{', '.join(built_in.names())}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FileFormatWarning)  # it is said in any case
        return read(data, columns=chosen, drop_missing=drop_missing, **given)


def _read_as(frame: Any) -> str:
    """Say what was read."""
    said = f"{len(frame)} rows of {', '.join(frame.columns)}"
    if frame.attrs["n_dropped"]:
        said += f", {frame.attrs['n_dropped']} incomplete rows left out"
    plain = frame.attrs["read_as"] in ("CSV", "Parquet", "built in")
    return said if plain else f"{said}; read as {frame.attrs['read_as']}"


def _analyze_line(context: typer.Context, data: str, k: str, covariance: str) -> str:
    """Write the command that analyzes the selected model, with the options of this command."""
    assert context.parent is not None
    analyze = context.parent.command.commands["analyze"]  # type: ignore[attr-defined]
    line = ["bayes-gmm", "analyze", data, "-k", k, "--covariance", covariance]
    for option in analyze.params:
        given = str(context.get_parameter_source(option.name)) == "ParameterSource.COMMANDLINE"
        if not given or option.name in OF_SELECT_ALONE:
            continue
        value = context.params[option.name]
        if isinstance(value, bool):
            line.append((option.opts if value else option.secondary_opts)[-1])
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                line += [option.opts[-1], str(one)]
    name = Path(data).name.partition(".")[0] or "out"
    return shlex.join([*line, "--out", f"{name}-{k}-{covariance}"])


def _verdicts(found: dict[str, Any]) -> str:
    """Say whether to trust the draws and the model, and what to do if not."""
    diagnosis = found["diagnosis"]
    advice = [f"  {reason.statement} {reason.advice}" for reason in diagnosis.reasons]
    sampling = "\n".join([f"Sampling: {diagnosis.verdict}", *advice])
    prior = [f"Prior: {found['sensitivity'].verdict}"] if "sensitivity" in found else []
    return "\n".join([sampling, f"Fit: {found['checks'].verdict}", *prior])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Write a table, every column as wide as its widest entry."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _line(console: Any, title: str, outcome: str, seconds: float | None = None) -> None:
    took = "" if seconds is None else f" ({seconds:.1f} s)"
    console.print(f"{title + ':':<22} {outcome}{took}", markup=False, soft_wrap=True)


@contextmanager
def _working(console: Any, title: str, shows_progress: bool) -> Iterator[None]:
    """Show a spinner on a terminal; nothing goes into a log file."""
    if shows_progress or not console.is_terminal:
        yield
    else:
        with console.status(title):
            yield


@contextmanager
def _warnings_as_lines(console: Any) -> Iterator[None]:
    """Print each warning as one line, without its place in the code."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: console.print(
            f"warning: {message}", markup=False, soft_wrap=True
        )
        yield


if __name__ == "__main__":
    main()
