//! The world as a mesh: layer axis x data axis, and the ranks of one machine.

mod config;
mod degree;

use std::fmt;

pub use config::{Axis, MeshConfig, MeshError, MeshProblem, MeshShape};
pub use degree::{Degree, DegreeError};

use crate::{CommError, Communicator, DevicePath, DeviceProbe};

/// This rank's place in the mesh and its communicators. A cheap handle.
///
/// World rank `r` has layer rank `r % layer_ranks` and data rank `r / layer_ranks`: neighbours on the layer axis are
/// neighbours in the world, and therefore mostly on one machine.
#[derive(Clone)]
pub struct Mesh {
    world: Communicator,
    layer: Communicator,
    data: Communicator,
    node: Communicator,
    shape: MeshShape,
}

impl Mesh {
    /// Lays the mesh over the world, for a network of `n_layers` layers.
    ///
    /// # Errors
    /// [`MeshError::Invalid`] before any message, [`MeshError::NoHostName`], and those of
    /// [`split`](Communicator::split).
    ///
    /// # Communication
    /// Collective over the world, with the same arguments on all ranks: three splits and one
    /// [`all_gather`](Communicator::all_gather) of the host names.
    pub fn new(world: &Communicator, config: &MeshConfig, n_layers: usize) -> Result<Self, MeshError> {
        let shape = config.resolve(world.size(), n_layers)?;
        let (layer_rank, data_rank) = (world.rank() % shape.layer_ranks, world.rank() / shape.layer_ranks);
        Ok(Self {
            world: world.clone(),
            layer: world.group(data_rank as u64, 0)?,
            data: world.group(layer_rank as u64, 0)?,
            node: node(world)?,
            shape,
        })
    }

    /// The mesh of one rank, of this process alone.
    pub fn alone() -> Self {
        let [world, layer, data, node] = std::array::from_fn(|_| Communicator::alone());
        Self { world, layer, data, node, shape: MeshShape { layer_ranks: 1, data_ranks: 1 } }
    }

    /// All ranks.
    pub fn world(&self) -> &Communicator {
        &self.world
    }

    /// The ranks that share this rank's copy of the network, in the order of their layers.
    pub fn layer(&self) -> &Communicator {
        &self.layer
    }

    /// The ranks that hold the same layers of the other copies.
    pub fn data(&self) -> &Communicator {
        &self.data
    }

    /// The ranks on this rank's machine.
    pub fn node(&self) -> &Communicator {
        &self.node
    }

    /// The ranks along each axis.
    pub fn shape(&self) -> MeshShape {
        self.shape
    }

    /// This rank's place on the layer axis.
    pub fn layer_rank(&self) -> usize {
        self.layer.rank()
    }

    /// This rank's place on the data axis: the number of its copy.
    pub fn data_rank(&self) -> usize {
        self.data.rank()
    }

    /// This rank's place among the ranks on its machine.
    pub fn node_rank(&self) -> usize {
        self.node.rank()
    }

    /// [`Communicator::probe_device_path`] over the world, for the communicators of the mesh too.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Communication
    /// As there; collective over the world.
    pub fn probe_device_path(&self, probe: &mut dyn DeviceProbe) -> Result<DevicePath, CommError> {
        let path = self.world.probe_device_path(probe)?;
        for own in [&self.layer, &self.data, &self.node] {
            own.set_device_path(&path);
        }
        Ok(path)
    }

    /// Which of its machine's `n_devices` devices this rank uses: they are dealt out in turn. `None` if there are none.
    pub fn device_index(&self, n_devices: usize) -> Option<usize> {
        self.node_rank().checked_rem(n_devices)
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MeshShape { layer_ranks, data_ranks } = self.shape;
        let (layer, data) = (self.layer_rank(), self.data_rank());
        write!(f, "Mesh(layer rank {layer} of {layer_ranks}, data rank {data} of {data_ranks})")
    }
}

/// The ranks that see the same host name.
fn node(world: &Communicator) -> Result<Communicator, MeshError> {
    let name = hostname::get().map_err(|error| MeshError::NoHostName { reason: error.to_string() })?;
    let name = name.to_string_lossy().into_owned();
    let names = world.all_gather(name.clone(), &())?;
    // The number of a machine is its first rank.
    let machine = names.iter().position(|other| *other == name).unwrap_or(world.rank());
    Ok(world.group(machine as u64, 0)?)
}
