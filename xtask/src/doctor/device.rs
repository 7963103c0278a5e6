//! Whether MPI takes messages straight from a GPU: tried as a training does it at its start, in a job of its own, which
//! may crash.

use std::path::Path;
use std::time::Duration;

use super::ask::ask_within;
use super::finding::Finding;
use super::gpu::Nvidia;
use super::mpi::Installed;
use super::program::build;
use crate::mpi::Mpi;

const TOPIC: &str = "device buffers";
const EXAMPLE: &str = "device_path";
/// How long the exchange may take: more than it waits for lost buffers.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// What becomes of the messages.
const STAGED: &str = "so under mpirun values of a GPU go through the host's memory; on threads nothing is copied";

/// Builds the example and runs it on two ranks, where there is MPI.
pub fn check(installed: &Installed, nvidia: Nvidia) -> Vec<Finding> {
    let Some(mpi) = &installed.mpi else { return Vec::new() };
    match build(EXAMPLE, &["mpi", "cuda"]) {
        Ok(program) => match run(mpi, &program) {
            Ok(text) => vec![judge(&text, nvidia)],
            Err(why) => vec![crashed(&why, &program)],
        },
        Err(why) => {
            let remedy =
                format!("cargo build --release -p braidnet-comm --features mpi,cuda --example {EXAMPLE} says more");
            vec![Finding::warning(TOPIC, format!("the example that exchanges them does not build: {why}"), remedy)]
        }
    }
}

/// What two ranks print.
fn run(mpi: &Mpi, program: &Path) -> Result<String, String> {
    let answer = ask_within(&mut mpi.command(2, program), RUN_LIMIT).map_err(|silence| silence.to_string())?;
    if answer.status.success() {
        return Ok(answer.stdout);
    }
    Err(format!("ended with {}: {}", answer.status, answer.last_words()))
}

/// The exchange must not crash a training, so the library must not be asked for what it cannot do.
fn crashed(why: &str, program: &Path) -> Finding {
    let text = format!("the library says that it takes them, but an exchange between two ranks {why}");
    let remedy = format!(
        "a training with MPI on a GPU would end the same way: make the library say no, with MPIR_CVAR_ENABLE_GPU=0 (MPICH) \
         or OMPI_MCA_opal_cuda_support=0 (Open MPI), or repair it; `mpirun -n 2 {}` is the exchange",
        program.display()
    );
    Finding::warning(TOPIC, text, remedy)
}

/// What the lines of the example mean.
fn judge(text: &str, nvidia: Nvidia) -> Finding {
    let line = |label: &str| text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim);
    let (Some(host), Some(device), Some(cuda)) = (line("host:"), line("CUDA device:"), line("CUDA:")) else {
        let remedy = "run `cargo xtask test`, which tries messages under mpirun";
        return Finding::warning(TOPIC, "two ranks under mpirun exchanged nothing", remedy);
    };
    let finding = if host != "direct" {
        let text = format!("two ranks exchanged buffers of the host's memory, which every library takes: {host}");
        Finding::warning(TOPIC, text, "this MPI library loses or damages messages; install another one")
    } else if cuda == "direct" {
        let text = "the library says that it takes CUDA pointers, and two ranks exchanged buffers of the GPU, both ways and \
                    unharmed; so under mpirun values go straight from GPU to GPU";
        Finding::ok(TOPIC, text)
    } else {
        let reason = cuda.strip_prefix("staged:").map_or(cuda, str::trim);
        staged(reason, device, nvidia)
    };
    finding.fact("host", host).fact("cuda", cuda).fact("cuda_device", device)
}

/// Messages are staged for this reason, and the device says this of itself.
fn staged(reason: &str, device: &str, nvidia: Nvidia) -> Finding {
    // The library is asked first; what is with the device would then be left unsaid.
    let device = if device == "usable" || reason.contains(device) { String::new() } else { format!("; {device}") };
    let text = format!("{reason}{device}; {STAGED}");
    if nvidia == Nvidia::None {
        return Finding::ok(TOPIC, text);
    }
    let remedy = if reason.contains("MPI library") {
        "for direct messages use Open MPI built --with-cuda, best with a UCX that is too, or MPICH built --with-cuda"
    } else {
        "repair what the reason names; nvidia-smi and `ucx_info -d` (Open MPI with UCX) say more"
    };
    Finding::warning(TOPIC, text, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    const NO_DRIVER: &str = "CUDA device: no CUDA driver: libcuda.so.1: not found\n";
    const NO: &str = "CUDA: staged: the MPI library takes no CUDA pointers: its MPIX_Query_cuda_support says no\n";

    fn judged(lines: &[&str], nvidia: Nvidia) -> (State, String) {
        let finding = judge(&lines.concat(), nvidia);
        (finding.state, finding.line())
    }

    #[test]
    fn without_a_gpu_there_is_nothing_to_do() {
        let (state, line) = judged(&["host: direct\n", NO_DRIVER, NO], Nvidia::None);
        assert_eq!(state, State::Ok);
        for part in ["MPIX_Query_cuda_support says no", "no CUDA driver", "through the host's memory"] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn with_a_gpu_the_remedy_follows_the_reason() {
        let (state, line) = judged(&["host: direct\n", "CUDA device: usable\n", NO], Nvidia::Found);
        assert_eq!(state, State::Warning);
        assert!(line.contains("--with-cuda") && !line.contains("usable"), "{line}");
        let lost = "CUDA: staged: rank 0: no device buffer came from rank 1 within 10s\n";
        let (_, line) = judged(&["host: direct\n", "CUDA device: usable\n", lost], Nvidia::Found);
        assert!(line.contains("within 10s") && line.contains("ucx_info"), "{line}");
    }

    #[test]
    fn proofs_and_damages_are_told_apart() {
        let usable = "CUDA device: usable\n";
        let (state, line) = judged(&["host: direct\n", usable, "CUDA: direct\n"], Nvidia::Found);
        assert!(state == State::Ok && line.contains("straight from GPU to GPU"), "{line}");
        let (state, _) = judged(&["host: staged: rank 1: wrong\n", usable, "CUDA: direct\n"], Nvidia::Found);
        assert_eq!(state, State::Warning);
        assert_eq!(judged(&["host: direct\n"], Nvidia::Found).0, State::Warning);
        let line = crashed("ended with signal: 11", Path::new("/t/device_path")).line();
        assert!(line.contains("signal: 11") && line.contains("MPIR_CVAR_ENABLE_GPU=0"), "{line}");
    }
}
