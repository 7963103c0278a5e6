//! `cargo xtask test`: the steps in order, cheapest first.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::cargo::{Executable, Workspace, cargo};
use crate::command::{run, run_within};
use crate::device::{self, Device};
use crate::examples::Examples;
use crate::install::Tools;
use crate::mpi::Mpi;
use crate::step::Steps;
use crate::{bench, plan};

/// The name of the test programs that also run under mpirun.
const RANKS_TEST: &str = "ranks";
/// The numbers of ranks they run on.
const RANKS: [usize; 4] = [1, 2, 3, 4];
/// How long one of them may take.
const RANKS_LIMIT: Duration = Duration::from_secs(300);

const DOCS: &str = "documentation";
const GPUS: &str = "devices besides the processor, check";
/// What [`GPUS`] checks.
const GPU_FEATURES: &str = "cuda,rocm,vulkan,metal,webgpu,ndarray";
const TESTS_UNDER_MPIRUN: &str = "tests under mpirun";
const BENCH: &str = "quick bench";
const EXAMPLES: &str = "examples, build";
const EXAMPLES_UNDER_MPIRUN: &str = "examples under mpirun";
const FAULTS: &str = "one rank fails under mpirun";
const KILLS: &str = "killed and resumed under mpirun";

/// Everything to check before a change, cheapest first; stops at the first failure.
///
/// The formatting; what a build with MPI needs, installed if missing, where that takes no password; lints;
/// documentation; tests with ranks on threads; tests with ranks under mpirun; examples in tiny configurations;
/// jobs with a rank that fails; a training that is killed and resumed; that the code for GPUs compiles, which needs none; plans;
/// a bench that times nothing to pass or fail. Steps that cannot run here are left out, and the table at the end says why.
#[derive(Debug, Args)]
pub struct Options {
    /// Only the formatting, lints, and tests with ranks on threads; installs nothing
    #[arg(long)]
    quick: bool,
    /// Build without MPI, and leave out what runs under mpirun
    #[arg(long)]
    no_mpi: bool,
    /// Install nothing
    #[arg(long)]
    no_install: bool,
    /// Only what runs under mpirun; MPI must be there
    #[arg(long, conflicts_with_all = ["quick", "no_mpi"])]
    only_mpi: bool,
    /// Only the tests that need a device, on this one, such as cuda:0, built with its feature: PyTorch's networks, invariances, runs
    /// that go on on the processor and back, optimizers, 16 bits, kernels. Several, as cuda:0,vulkan, are built together
    #[arg(long, value_name = "KIND[:N]", value_delimiter = ',')]
    #[arg(conflicts_with_all = ["quick", "no_mpi", "no_install", "only_mpi"])]
    device: Vec<Device>,
}

/// Runs the steps and prints the table.
pub fn run_steps(options: &Options) -> ExitCode {
    let mut steps = Steps::default();
    let result = match &options.device[..] {
        [] => check(options, &mut steps),
        devices => device::check(devices, &mut steps),
    };
    steps.finish(result)
}

/// All steps.
fn check(options: &Options, steps: &mut Steps) -> Result<()> {
    if !options.only_mpi {
        steps.run("formatting", || run(&mut cargo("fmt", &["--all", "--check"])))?;
    }
    let mpi = find_mpi(options, steps)?;
    let workspace = Workspace { has_mpi: mpi.is_ok() };
    if !options.only_mpi {
        check_on_threads(options, steps, workspace)?;
    }
    if options.quick {
        steps.leave_out("tests under mpirun, examples, GPUs, plans and the quick bench", "--quick");
        return Ok(());
    }
    match &mpi {
        Ok(mpi) => test_under_mpirun(steps, workspace, mpi)?,
        Err(why) => steps.leave_out(TESTS_UNDER_MPIRUN, why),
    }
    check_examples(options, steps, workspace, mpi)?;
    if options.only_mpi {
        return Ok(());
    }
    steps.run(GPUS, check_gpus)?;
    steps.run("plans", || plan::check(workspace))?;
    // Its ratios are to be read; no time makes it fail.
    steps.run(BENCH, || bench::quick(workspace))
}

/// The MPI to build with, installed if it is missing and may be; the inner error says why there is none.
fn find_mpi(options: &Options, steps: &mut Steps) -> Result<Result<Mpi, String>> {
    const NAME: &str = "MPI and libclang";
    if options.no_mpi {
        steps.leave_out(NAME, "--no-mpi");
        return Ok(Err("--no-mpi".to_owned()));
    }
    let is_fixed = options.no_install || options.quick;
    let tools = if is_fixed { Tools::find } else { Tools::find_or_install };
    let mut hint = None;
    let mpi = steps.attempt(NAME, || {
        let tools = tools();
        println!("{}", tools.describe());
        let mpi = tools.mpi();
        match &mpi {
            Err(why) if options.only_mpi => bail!("{why}; {}", tools.how_to_install()),
            Err(_) => hint = Some(tools.how_to_install()),
            Ok(_) => {}
        }
        Ok(mpi)
    });
    hint.into_iter().for_each(|hint| steps.hint(hint));
    mpi
}

/// What needs no mpirun: lints, documentation, and cargo's tests, whose ranks are threads.
fn check_on_threads(options: &Options, steps: &mut Steps, workspace: Workspace) -> Result<()> {
    steps.run("lints", || run(&mut workspace.command("clippy", &["--all-targets", "--", "-D", "warnings"])))?;
    if options.quick {
        steps.leave_out(DOCS, "--quick");
    } else {
        // With the examples, because only then the dependencies' features are those of the other steps.
        let mut command = workspace.command("doc", &["--no-deps", "--lib", "--bins", "--examples"]);
        steps.run(DOCS, || run(command.env("RUSTDOCFLAGS", "-D warnings")))?;
    }
    steps.run("tests on threads", || run(&mut workspace.command("test", &[])))
}

/// That the code for GPUs compiles: not linked, so nothing of theirs need be here.
fn check_gpus() -> Result<()> {
    // In a folder of its own: other features of burn would have it compiled again by every other step.
    let options = ["-p", "braidnet", "--features", GPU_FEATURES, "--target-dir", "target/gpu"];
    // The builds of cubecl's compiler for CUDA leave the LLVM out that they otherwise download: only linking needs it.
    run(cargo("check", &options).env("DOCS_RS", "1"))
}

/// The test programs of several ranks, one process a rank.
fn test_under_mpirun(steps: &mut Steps, workspace: Workspace, mpi: &Mpi) -> Result<()> {
    let programs = steps.run("tests under mpirun, build", || {
        let mut built = workspace.executables("test", &["--no-run"])?;
        built.retain(|executable| executable.name == RANKS_TEST && executable.kind == "test");
        if built.is_empty() {
            bail!("no crate has a test named `{RANKS_TEST}`, which is the name of the tests to run under mpirun");
        }
        Ok(built)
    })?;
    for n in RANKS {
        let name = format!("{TESTS_UNDER_MPIRUN} -n {n}");
        steps.run(&name, || programs.iter().try_for_each(|program| run_ranks(mpi, n, program)))?;
    }
    Ok(())
}

/// One test program on `n` ranks, in its package's folder, as cargo starts it.
fn run_ranks(mpi: &Mpi, n: usize, program: &Executable) -> Result<()> {
    println!("{} on {n} {}", program.package_name(), if n == 1 { "rank" } else { "ranks" });
    let mut command = mpi.command(n, &program.path);
    run_within(command.current_dir(&program.package), RANKS_LIMIT)
}

/// The examples: on threads, under mpirun, with bad input, the one that fails on a rank, and a training that is killed.
fn check_examples(options: &Options, steps: &mut Steps, workspace: Workspace, mpi: Result<Mpi, String>) -> Result<()> {
    let examples = steps.run(EXAMPLES, || Examples::build(workspace))?;
    if !options.only_mpi {
        examples.run_on_threads(steps)?;
        steps.run("examples refuse bad input", || examples.refuse_bad_input())?;
        steps.run("one rank fails on threads", || examples.fail_on_one_rank(None))?;
        steps.attempt("killed and resumed on threads", || examples.survive_kills(None)).map(drop)?;
    }
    match mpi {
        Ok(mpi) => {
            examples.run_under_mpirun(steps, &mpi)?;
            steps.run(FAULTS, || examples.fail_on_one_rank(Some(&mpi)))?;
            steps.attempt(KILLS, || examples.survive_kills(Some(&mpi))).map(drop)
        }
        Err(why) => {
            [EXAMPLES_UNDER_MPIRUN, FAULTS, KILLS].iter().for_each(|name| steps.leave_out(name, &why));
            Ok(())
        }
    }
}
