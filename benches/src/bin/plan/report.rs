//! What is printed, and written as JSON.

use std::path::Path;

use braidnet::monitor::{Framework, Measurement, MonitorError, Transport};
use braidnet::train::predict::{Kind, Link, MachineFile, Times};

use crate::candidates::{AtRanks, Candidate, Planned, way};

fn milliseconds(times: &Times, samples: &[usize], n: usize) -> String {
    format!("{:.4}", 1e3 * times.at(samples, n))
}

/// Machine and costs.
pub fn machine(MachineFile { machine, costs }: &MachineFile, batch: usize) {
    let link = |Link { latency, bandwidth }: Link| {
        let bandwidth =
            if bandwidth.is_finite() { format!("{:.2} GB/s", 1e-9 * bandwidth) } else { "moved, not copied".into() };
        format!("{:.2} us, {bandwidth}", 1e6 * latency)
    };
    println!(
        "{}: {} ranks per node, {:.2} x slower when all work",
        machine.name, machine.ranks_per_node, machine.crowding
    );
    println!("messages: {} within a node, {} between nodes", link(machine.near), link(machine.far));
    let parameters = costs.n_parameters();
    println!("{}: {} layers, {parameters} parameters; ms for {batch} samples:", costs.network, costs.n_layers());
    println!(
        "{:>8} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9} {:>14} {:>14}",
        "layers", "forward", "linearize", "pullback", "back", "gradients", "update", "coarse forward", "coarse back"
    );
    // Runs that differ by measuring alone are many: those of equal sizes have equal times.
    for run in &costs.layers {
        let ms = |times| milliseconds(times, &costs.samples, batch);
        let coarse =
            run.coarse.as_ref().map_or(["-".to_owned(), "-".to_owned()], |c| [ms(&c.forward), ms(&c.pullback)]);
        println!(
            "{:>8} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9.4} {:>14} {:>14}",
            run.count,
            ms(&run.forward),
            ms(&run.linearize),
            ms(&run.pullback),
            ms(&run.back),
            ms(&run.gradients),
            1e3 * run.update,
            coarse[0],
            coarse[1],
        );
    }
}

/// For every number of ranks the best of every kind, and which wins.
pub fn ranks(planned: &Planned, max_error: f64) {
    for at in &planned.counts {
        println!("\n{} ranks", at.n_ranks);
        println!(
            "  {:<15} {:<26} {:>12} {:>11} {:>8} {:>7} {:>12} {:>15}",
            "", "", "layer x data", "ms", "speed-up", "bubble", "memory/rank", "gradient error"
        );
        let winner = at.winner(max_error).map(|candidate| candidate.proposal.kind);
        for kind in Kind::ALL {
            match at.best(kind, max_error) {
                Some(candidate) => line(planned, candidate, winner == Some(kind)),
                None => println!("  {:<15} {}", kind.to_string(), why_not(at, kind, max_error)),
            }
        }
    }
}

fn why_not(at: &AtRanks, kind: Kind, max_error: f64) -> String {
    if at.candidates.iter().any(|candidate| candidate.proposal.kind == kind) {
        return format!("none of those measured has a gradient error up to {:.1} %", 100.0 * max_error);
    }
    "not possible".to_owned()
}

fn line(planned: &Planned, Candidate { proposal, error }: &Candidate, wins: bool) {
    let prediction = &proposal.prediction;
    let error = match error {
        Some(0.0) => "exact".to_owned(),
        Some(error) => format!("{:.2} %", 100.0 * error),
        None => "not known".to_owned(),
    };
    println!(
        "{} {:<15} {:<26} {:>12} {:>11.3} {:>8.2} {:>5.1} % {:>8.1} MiB {error:>15}",
        if wins { "*" } else { " " },
        proposal.kind.to_string(),
        way(proposal).to_string(),
        format!("{} x {}", proposal.setup.layer_ranks, proposal.setup.data_ranks),
        1e3 * prediction.seconds,
        planned.sequential / prediction.seconds,
        100.0 * prediction.bubble(),
        prediction.memory() as f64 / f64::from(1 << 20),
    );
}

/// Speed-ups over one rank against ranks, and where layers begin to win.
pub fn curve(planned: &Planned, max_error: f64) {
    if planned.counts.len() < 2 {
        return;
    }
    println!("\nspeed-up over one rank, layer by layer: {:.3} ms", 1e3 * planned.sequential);
    let heads: String = Kind::ALL.iter().map(|kind| format!("{:>16}", kind.to_string())).collect();
    println!("{:>7}{heads}   best", "ranks");
    let mut crossover = None;
    for at in &planned.counts {
        let speed_up = |kind| {
            let best = at.best(kind, max_error)?;
            Some(planned.sequential / best.proposal.prediction.seconds)
        };
        let cells: String = Kind::ALL
            .iter()
            .map(|kind| speed_up(*kind).map_or(format!("{:>16}", "-"), |s| format!("{s:>16.2}")))
            .collect();
        let winner = at.winner(max_error).map(|candidate| &candidate.proposal);
        let name = winner.map_or("-".to_owned(), |proposal| format!("{}, {}", proposal.kind, way(proposal)));
        println!("{:>7}{cells}   {name}", at.n_ranks);
        if winner.is_some_and(|proposal| !proposal.setup.schedule.is_exact()) && at.n_ranks > 1 {
            crossover = crossover.or(Some(at.n_ranks));
        }
    }
    match crossover {
        Some(ranks) => println!("multigrid over the layers wins from {ranks} ranks on, of those asked for"),
        None => println!("multigrid over the layers wins on none of these"),
    }
}

/// A line per kind and number of ranks.
pub fn json(planned: &Planned, file: &MachineFile, path: &Path) -> Result<(), MonitorError> {
    for at in &planned.counts {
        for candidate in Kind::ALL.iter().filter_map(|kind| at.candidates.iter().find(|c| c.proposal.kind == *kind)) {
            let Candidate { proposal, error } = candidate;
            let prediction = &proposal.prediction;
            let measurement = Measurement {
                bench: "plan".to_owned(),
                case: file.costs.network.clone(),
                variant: way(proposal).to_string(),
                by: Framework::Braidnet,
                ranks: at.n_ranks,
                transport: Transport::None,
                device: file.machine.name.clone(),
                waiting: Some(prediction.bubble()),
                gradient_error: *error,
                predicted: Some(prediction.seconds),
                ..Measurement::default()
            };
            measurement.append(path)?;
        }
    }
    Ok(())
}
