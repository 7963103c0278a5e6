//! Data sets for the examples: MNIST files and generated digits.
