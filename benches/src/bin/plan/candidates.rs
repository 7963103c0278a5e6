//! What is predicted for every number of ranks.

use benches::Way;
use braidnet::comm::MeshShape;
use braidnet::prelude::*;
use braidnet::train::MicroBatching;
use braidnet::train::predict::{Kind, MachineFile, PredictError, Proposal, Search, Setup, predict, propose};

use crate::Options;

/// The predictions for all numbers of ranks.
pub struct Planned {
    /// Of the layer-by-layer step on one rank, in seconds.
    pub sequential: f64,
    pub counts: Vec<AtRanks>,
}

/// Those for one number of ranks, the fastest first.
pub struct AtRanks {
    pub n_ranks: usize,
    pub candidates: Vec<Candidate>,
}

/// A proposal.
pub struct Candidate {
    pub proposal: Proposal,
    /// Relative error of its gradients, where it was measured; exact ways have none.
    pub error: Option<f64>,
}

impl Planned {
    /// Predicts everything.
    pub fn new(file: &MachineFile, samples: usize, options: &Options) -> Result<Self, PredictError> {
        let MachineFile { machine, costs } = file;
        let one = predict(costs, machine, &Setup::new(Schedule::sequential(), 1, samples))?;
        let search = Search::new(samples, OptimizerConfig::Sgd { momentum: 0.9 });
        let mut counts = Vec::new();
        for n_ranks in options.ranks.0.iter().copied() {
            let found = match &options.variants[..] {
                [] => propose(costs, machine, n_ranks, &search)?,
                ways => predict_ways(file, n_ranks, samples, ways)?,
            };
            let candidate = |proposal: Proposal| {
                let error = proposal.setup.schedule.is_exact().then_some(0.0);
                Candidate { proposal, error }
            };
            counts.push(AtRanks { n_ranks, candidates: found.into_iter().map(candidate).collect() });
        }
        Ok(Self { sequential: one.seconds, counts })
    }
}

/// Predicts these ways, the fastest first, without what is not possible.
fn predict_ways(
    MachineFile { machine, costs }: &MachineFile,
    n_ranks: usize,
    samples: usize,
    ways: &[Way],
) -> Result<Vec<Proposal>, PredictError> {
    let mut found = Vec::new();
    for way in ways {
        let Ok(MeshShape { layer_ranks, data_ranks }) = way.degrees.resolve(n_ranks, costs.n_layers()) else {
            continue;
        };
        let setup = Setup::new(way.schedule.clone(), layer_ranks, samples);
        let setup = Setup { data_ranks, micro_batches: way.n_micro, ..setup };
        match predict(costs, machine, &setup) {
            Ok(prediction) => found.push(Proposal { kind: kind(&setup), setup, prediction }),
            Err(PredictError::NotPossible { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|a, b| a.prediction.seconds.total_cmp(&b.prediction.seconds));
    Ok(found)
}

fn kind(Setup { schedule, layer_ranks, data_ranks, .. }: &Setup) -> Kind {
    match (schedule.micro_batching, schedule.forward.is_sequential(), schedule.backward.is_sequential()) {
        _ if *layer_ranks > 1 && *data_ranks > 1 => Kind::Hybrid,
        (MicroBatching::Pipelined, ..) => Kind::Pipeline,
        (_, true, true) if *data_ranks > 1 => Kind::DataParallel,
        (_, true, true) => Kind::Sequential,
        (_, true, false) => Kind::Mixed,
        (_, false, _) => Kind::LayerParallel,
    }
}

impl AtRanks {
    /// The fastest of a kind whose error is known to be small enough; where none is known, the fastest of which none is.
    pub fn best(&self, kind: Kind, max_error: f64) -> Option<&Candidate> {
        let of_kind = || self.candidates.iter().filter(move |candidate| candidate.proposal.kind == kind);
        let good = of_kind().find(|candidate| candidate.error.is_some_and(|error| error <= max_error));
        let is_known = of_kind().any(|candidate| candidate.error.is_some());
        good.or_else(|| of_kind().next().filter(|_| !is_known))
    }

    /// The fastest of all kinds, by the same rule.
    pub fn winner(&self, max_error: f64) -> Option<&Candidate> {
        let best = Kind::ALL.iter().filter_map(|kind| self.best(*kind, max_error));
        best.min_by(|a, b| a.proposal.prediction.seconds.total_cmp(&b.proposal.prediction.seconds))
    }
}

/// The compact name of a proposal.
pub fn way(proposal: &Proposal) -> Way {
    let Setup { schedule, data_ranks, micro_batches, .. } = &proposal.setup;
    if proposal.kind == Kind::DataParallel {
        return Way::data_parallel();
    }
    let degrees = MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(*data_ranks) };
    Way { degrees, n_micro: *micro_batches, ..schedule.clone().into() }
}
