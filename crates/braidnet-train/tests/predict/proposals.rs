use braidnet_train::OptimizerConfig;
use braidnet_train::predict::{Kind, Search, propose};

use super::*;

fn search(samples: usize) -> Search {
    Search::new(samples, OptimizerConfig::Sgd { momentum: 0.9 })
}

#[test]
fn the_fastest_comes_first_and_every_kind_that_fits_is_there() {
    let found = propose(&costs(32), &machine(1e-3, 1e7), 4, &search(8)).unwrap();
    assert!(found.is_sorted_by(|a, b| a.prediction.seconds <= b.prediction.seconds));
    for kind in Kind::ALL {
        assert!(found.iter().any(|proposal| proposal.kind == kind), "{kind}");
    }
    assert!(found.iter().all(|proposal| proposal.setup.n_ranks() == 4));
}

#[test]
fn what_is_not_possible_is_left_out() {
    // One sample: no copies, no micro-batches. 8 layers: no room for more than cfactor 4 on two levels, 2 on three.
    let found = propose(&costs(8), &free(), 8, &search(1)).unwrap();
    let kinds: Vec<Kind> = found.iter().map(|proposal| proposal.kind).collect();
    assert!(!kinds.contains(&Kind::DataParallel) && !kinds.contains(&Kind::Pipeline) && !kinds.contains(&Kind::Hybrid));
    assert!(found.iter().all(|proposal| proposal.setup.schedule.backward.cfactor <= 4));
    assert!(propose(&costs(8), &free(), 9, &search(1)).unwrap().is_empty());
}

/// With samples for everybody copies win; with one sample only the layers are left.
#[test]
fn few_samples_favour_layers() {
    let best = |samples, ranks| propose(&costs(256), &free(), ranks, &search(samples)).unwrap()[0].kind;
    assert_eq!(best(4, 4), Kind::DataParallel);
    assert!([Kind::LayerParallel, Kind::Mixed].contains(&best(1, 4)));
}

/// Gradients of one iteration do not depend on the relaxation.
#[test]
fn nothing_is_tried_twice() {
    let found = propose(&costs(32), &free(), 2, &search(1)).unwrap();
    for (n, proposal) in found.iter().enumerate() {
        assert!(found[..n].iter().all(|other| other.setup != proposal.setup), "{:?}", proposal.setup);
    }
}

#[test]
fn a_thousand_ranks_can_be_predicted() {
    let mut costs = costs(1024);
    costs.layers[0].parameters = 10;
    let setup = braidnet_train::predict::Setup::new(layer_parallel(16), 1024, 1);
    let found = braidnet_train::predict::predict(&costs, &machine(1e-3, 1e6), &setup).unwrap();
    assert_eq!(found.ranks.len(), 1024);
}

/// Copies of a pipeline are tried too, and are exact.
#[test]
fn hybrids_may_be_pipelines() {
    let only_pipelines = Search { cfactors: Vec::new(), ..search(32) };
    let found = propose(&costs(16), &free(), 4, &only_pipelines).unwrap();
    let hybrids: Vec<_> = found.iter().filter(|proposal| proposal.kind == Kind::Hybrid).collect();
    assert!(!hybrids.is_empty() && hybrids.iter().all(|hybrid| hybrid.setup.schedule.is_exact()));
}
