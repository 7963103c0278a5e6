//! The kernels against plain formulas in double precision: one program, for the modules share their helpers.

mod activation;
mod coarsen;
mod common;
mod conv;
mod dropout;
mod gru;
mod layer_norm;
mod norm;
mod rows;
mod softmax;
