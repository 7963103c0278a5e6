//! The whole network as one safetensors file, with PyTorch's names and layouts.

use std::collections::HashMap;
use std::path::Path;

use braidnet_checkpoint::{Checkpoint, NamedTensor, export_tensors, import};
use braidnet_nn::Network;

use super::Trainer;
use crate::copies::is_shared;
use crate::{TrainError, snapshot};

impl<N: Network, T> Trainer<N, T> {
    /// Writes all parameters to one file that `safetensors.torch.load_file` reads.
    ///
    /// # Errors
    /// If a message fails, or on rank 0 the file cannot be written.
    ///
    /// # Communication
    /// Collective over the world: the parameters are gathered on rank 0.
    pub fn export(&self, file: &Path) -> Result<(), TrainError> {
        let mut own = Vec::new();
        if self.mesh.data_rank() == 0 {
            let is_first = self.model.is_first();
            self.model.network().visit_parameters(|p| {
                if is_first || !is_shared(&p.name) {
                    own.push(snapshot::parameter(&p));
                }
            });
        }
        let names = serde_json::to_string(&own.iter().map(|t| (&t.name, &t.shape)).collect::<Vec<_>>());
        let names = names.map_err(|e| TrainError::Record { reason: e.to_string() })?;
        let bytes: Vec<u8> = own.iter().flat_map(|t| t.bytes.iter().copied()).collect();
        let world = self.mesh.world();
        let (Some(names), Some(bytes)) = (world.gather(0, names, &())?, world.gather(0, bytes, &())?) else {
            return Ok(());
        };
        let mut all = Vec::new();
        for (names, bytes) in names.iter().zip(bytes) {
            let parsed: Vec<(String, Vec<usize>)> =
                serde_json::from_str(names).map_err(|e| TrainError::Record { reason: e.to_string() })?;
            let mut rest = &bytes[..];
            for (name, shape) in parsed {
                let n_bytes = (size_of::<f32>() * shape.iter().product::<usize>()).min(rest.len());
                let (values, behind) = rest.split_at(n_bytes);
                all.push(NamedTensor { bytes: values.to_vec(), ..NamedTensor::from_f32(name, &shape, &[]) });
                rest = behind;
            }
        }
        Ok(export_tensors(file, &all)?)
    }

    /// Replaces the parameters by those of such a file, which may have others besides.
    ///
    /// # Errors
    /// If the file cannot be read, or a parameter is missing or of another shape.
    ///
    /// # Communication
    /// None: every rank reads its own layers.
    pub fn import(&mut self, file: &Path) -> Result<(), TrainError> {
        self.replace_parameters(import(file)?, file)
    }

    /// Replaces the parameters by those of a checkpoint, to evaluate or sample the network: moments and progress stay as they
    /// are. To go on training from a checkpoint, [`fit`](Trainer::fit) with [`Resume`](super::Resume).
    ///
    /// # Errors
    /// If it is of another network, or a file of it is not as written.
    ///
    /// # Communication
    /// None: every rank reads its own layers.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        checkpoint.check_network(&self.description)?;
        let parts = self.model.parts_needed().names().map(|part| checkpoint.read_parameters(part));
        let tensors = parts.collect::<Result<Vec<_>, _>>()?.concat();
        self.replace_parameters(tensors, checkpoint.folder())
    }

    /// `from` is where the tensors are from.
    fn replace_parameters(&mut self, tensors: Vec<NamedTensor>, from: &Path) -> Result<(), TrainError> {
        let mut tensors: HashMap<_, _> = tensors.into_iter().map(|t| (t.name.clone(), t)).collect();
        let mut bad = None;
        let network = self.model.network().clone().load(|name| {
            let tensor = tensors.remove(name)?;
            match tensor.to_f32() {
                Ok(values) => Some((tensor.shape, values)),
                Err(error) => {
                    bad = Some(error);
                    None
                }
            }
        });
        if let Some(error) = bad {
            return Err(error.into());
        }
        let network = network.map_err(|source| TrainError::Restore { folder: from.to_owned(), source })?;
        self.model.update(|_| network);
        Ok(())
    }
}
