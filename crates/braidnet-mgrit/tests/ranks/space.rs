//! States whose sizes differ, from layer to layer and from level to level.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::{Coarsening, Partition};
use braidnet_mgrit::{Activations, MgritOptions, Relaxation};

use crate::common::vector_solves::{Ends, on};
use crate::common::vectors::{Network, Restriction, Weights};
use crate::{Checked, even, same, text};

pub const TESTS: &[RankTest] = &[("states_of_several_sizes", states_of_several_sizes)];

fn states_of_several_sizes(comm: &Communicator) -> Checked {
    let sizes: Vec<usize> = [(4, 15), (6, 14), (3, 16)].into_iter().flat_map(|(n, size)| vec![size; n]).collect();
    let Some(partition) = even(sizes.len() - 1, comm) else { return Ok(()) };
    for restrictions in [vec![], vec![Some(Restriction::FullWeighting)], vec![None, Some(Restriction::Injection)]] {
        let (weights, sizes) = (Weights::Stencil, sizes.clone());
        same_as_alone(comm, &partition, &Network { weights, is_linear: false, sizes, shares: true, restrictions })?;
    }
    Ok(())
}

fn same_as_alone(comm: &Communicator, partition: &Partition, network: &Network) -> Checked {
    let n = network.n_layers();
    let guess = |point| network.state(point, 1.0);
    let (initial, lambda_end) = (network.state(0, 0.0), network.state(n, 2.0));
    let ends = Ends { initial: &initial, guess: &guess, lambda_end: &lambda_end, lambda_guess: &guess, sources: &[] };
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(3, 2) };
    for skip_downcycle in [true, false] {
        let relaxation = vec![Relaxation::Fcf(1)];
        let options = MgritOptions { relaxation, skip_downcycle, ..MgritOptions::network(coarsening.clone(), 2) };
        let setup = (&network.grid(0.3), [&options, &options], Activations::Store);
        let (states, lambda_0, gradients, _) = on(&Communicator::alone(), setup, network, ends).map_err(text)?;
        let (own_states, own_lambda_0, own_gradients, _) = on(comm, setup, network, ends).map_err(text)?;
        let own = partition.layers(comm.rank());
        let first = if own.start == 0 { 0 } else { own.start + 1 };
        same("states", &own_states[..], &states[first..=own.end])?;
        let expected: Vec<_> = gradients[own.clone()].iter().map(|g| (g.layer, &g.gradients)).collect();
        same("gradients", own_gradients.iter().map(|g| (g.layer, &g.gradients)).collect(), expected)?;
        same("dLoss/du_0", own_lambda_0, lambda_0.filter(|_| own.start == 0))?;
    }
    Ok(())
}
