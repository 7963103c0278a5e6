//! Multigrid reduction in time: the forward and adjoint solver of layer-parallel training.
