//! Time-grid hierarchy of a deep network: steps, levels, intervals and their partition over ranks.
