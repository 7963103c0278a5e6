//! Which way the messages of a device take, and the decision.

use std::fmt;

use super::DeviceProbe;
use crate::{CommError, Communicator};

/// The way of a device's values from rank to rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicePath {
    /// Ranks are threads of one process, or there is one only: values are handed over, and nothing is copied.
    Handles,
    /// MPI reads and writes the device's memory.
    Direct,
    /// Values are packed in the host's memory, sent from there, and put back on the device.
    Staged {
        /// Why not [`Direct`](Self::Direct).
        reason: String,
    },
}

impl fmt::Display for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handles => f.write_str("handles"),
            Self::Direct => f.write_str("direct"),
            Self::Staged { reason } => write!(f, "staged: {reason}"),
        }
    }
}

impl Communicator {
    /// Decides how values of a device travel on this communicator, and on those made from it afterwards: the same way
    /// on all ranks. The first call decides; later ones return its result. Without a call values are packed.
    ///
    /// Two steps, both at run time. First the MPI library is asked whether it takes pointers of this kind of memory:
    /// `MPIX_Query_cuda_support` or `MPIX_Query_rocm_support` (Open MPI), `MPIX_GPU_query_support` (MPICH), looked up
    /// in the running program. A library that does not would dereference such a pointer and crash, which no check
    /// afterwards could catch; so without a yes on every rank nothing is tried. Then buffers of 1 KiB and 1 MiB, for
    /// which libraries use different protocols, really go from every rank to both its neighbours, and each receiver
    /// compares what its device then holds with what was sent. Wrong bytes, an error, or nothing within 10 s on any
    /// rank: [`Staged`](DevicePath::Staged), with the reason.
    ///
    /// The exchange is not made in a process of its own: after `MPI_Init` a process may not fork, and an MPI job
    /// cannot in general start another one on the same nodes. `cargo xtask doctor` makes it in a job of its own; if that
    /// crashes, make the library say no (`MPIR_CVAR_ENABLE_GPU=0`, or Open MPI's parameter `opal_cuda_support` 0).
    ///
    /// # Errors
    /// Those of [`all_gather`](Self::all_gather). That the direct path does not work is no error.
    ///
    /// # Communication
    /// Collective. Under MPI at most six [`all_gather`](Self::all_gather)s and four messages of each rank; on threads
    /// none.
    #[cfg_attr(not(feature = "mpi"), expect(unused_variables, reason = "threads hand values over"))]
    pub fn probe_device_path(&self, probe: &mut dyn DeviceProbe) -> Result<DevicePath, CommError> {
        if let Some(path) = self.device_path() {
            return Ok(path.clone());
        }
        #[cfg(feature = "mpi")]
        let path = self.decide(probe)?;
        #[cfg(not(feature = "mpi"))]
        let path = DevicePath::Handles;
        self.set_device_path(&path);
        Ok(path)
    }

    #[cfg(feature = "mpi")]
    fn decide(&self, probe: &mut dyn DeviceProbe) -> Result<DevicePath, CommError> {
        let Some(answer) = self.transport().takes(probe.memory()).filter(|_| self.size() > 1) else {
            return Ok(DevicePath::Handles);
        };
        let refused = match self.agree_on(answer)? {
            None => super::exchange::exchange(self, probe)?,
            refused => refused,
        };
        Ok(refused.map_or(DevicePath::Direct, |reason| DevicePath::Staged { reason }))
    }

    /// The first reason that any rank has against the direct path, the same on all ranks. Collective.
    #[cfg(feature = "mpi")]
    pub(super) fn agree_on(&self, mine: Result<(), String>) -> Result<Option<String>, CommError> {
        let all = self.all_gather(mine.err().unwrap_or_default(), &())?;
        let first = all.iter().position(|reason| !reason.is_empty());
        Ok(first.map(|rank| {
            let everywhere = all.iter().all(|reason| *reason == all[rank]);
            if everywhere { all[rank].clone() } else { format!("rank {rank}: {}", all[rank]) }
        }))
    }
}
