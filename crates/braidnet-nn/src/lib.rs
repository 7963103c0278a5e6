//! Networks on burn whose layers are time steps: states, linearisations, ODENets.
