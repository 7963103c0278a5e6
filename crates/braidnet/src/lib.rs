//! Train deep networks layer-parallel: multigrid in time over ranks, in Rust on burn.
