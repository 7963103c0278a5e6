//! Layer-parallel training: forward, loss, adjoint, gradients and optimizers over ranks.
