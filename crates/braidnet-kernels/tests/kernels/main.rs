//! The kernels against plain formulas in double precision: one program, for the modules share their helpers.

mod activation;
mod common;
mod dropout;
mod gru;
mod layer_norm;
mod rows;
mod softmax;
