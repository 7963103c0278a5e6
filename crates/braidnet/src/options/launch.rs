//! How many ranks, and how they are arranged.

use std::time::Duration;

use braidnet_comm::{Degree, Launch, MeshConfig, MeshError, MeshShape, mpi_world_size, under_mpi};
use clap::Args;

use crate::config::duration;

/// The mesh of ranks: layer axis x data axis.
#[derive(Debug, Clone, Args)]
pub struct LaunchArgs {
    /// Ranks on the layer axis, or auto: the ranks that mpirun started, over the data ranks. [default: 2 threads, auto under
    /// mpirun]
    #[arg(long, value_name = "N|auto")]
    pub layer_ranks: Option<Degree>,
    /// Ranks on the data axis, or auto: the ranks that mpirun started, over the layer ranks.
    #[arg(long, value_name = "N|auto", default_value_t = Degree::Exactly(1))]
    pub data_ranks: Degree,
    /// End the job when a rank waits this long for another (as 90s, 10m).
    #[arg(long, value_parser = duration, default_value = "30m")]
    pub patience: Duration,
}

impl LaunchArgs {
    /// The degrees of both axes.
    pub fn mesh(&self) -> MeshConfig {
        let default = if under_mpi() { Degree::Auto } else { Degree::Exactly(2) };
        MeshConfig { layer_ranks: self.layer_ranks.unwrap_or(default), data_ranks: self.data_ranks }
    }

    /// What [`braidnet_comm::launch`] needs: under mpirun the ranks that it started, else as many threads as the mesh asks
    /// for (one per axis where it says auto).
    pub fn launch(&self) -> Launch {
        let count = |degree| match degree {
            Degree::Auto => 1,
            Degree::Exactly(n) => n,
        };
        let mesh = self.mesh();
        let threads = count(mesh.layer_ranks).saturating_mul(count(mesh.data_ranks));
        Launch::ranks(if under_mpi() { None } else { Some(threads) }).with_patience(self.patience)
    }

    /// The mesh that a network of `n_layers` layers will have, where that is known before the launch.
    ///
    /// # Errors
    /// [`MeshError`] with all problems.
    pub fn check(&self, n_layers: usize) -> Result<Option<MeshShape>, MeshError> {
        let world = if under_mpi() { mpi_world_size() } else { self.launch().ranks };
        world.map(|world| self.mesh().resolve(world, n_layers)).transpose()
    }
}
