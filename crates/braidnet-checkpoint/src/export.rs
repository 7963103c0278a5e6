//! All parameters in one file, and back.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use crate::{Checkpoint, CheckpointError, NamedTensor, files, header::Header, tensor_file};

/// Writes all parameters to one safetensors file, under their own names, with step and version in its metadata. Holds
/// one part in memory at a time. A file of that name is replaced, once the new one is whole.
///
/// # Errors
/// As [`Checkpoint::read_part`]; [`CheckpointError::Io`] where the disk refuses.
pub fn export(checkpoint: &Checkpoint, file: impl AsRef<Path>) -> Result<(), CheckpointError> {
    replace(file.as_ref(), |unfinished| write(checkpoint, unfinished))
}

/// Writes tensors to one safetensors file. A file of that name is replaced, once the new one is whole.
///
/// # Errors
/// Two tensors of one name, or one whose bytes do not fit its shape; [`CheckpointError::Io`] where the disk refuses.
pub fn export_tensors(file: impl AsRef<Path>, tensors: &[NamedTensor]) -> Result<(), CheckpointError> {
    replace(file.as_ref(), |unfinished| tensor_file::write(unfinished, tensors).map(drop))
}

/// Writes beside a file and renames.
fn replace(file: &Path, write: impl FnOnce(&Path) -> Result<(), CheckpointError>) -> Result<(), CheckpointError> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let unfinished = file.with_file_name(name);
    // Of a run that was killed while it wrote.
    let _ = fs::remove_file(&unfinished);
    let written = write(&unfinished).and_then(|()| files::rename(&unfinished, file));
    if written.is_err() {
        // The first error is the one to tell; a left-over does no harm.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write(checkpoint: &Checkpoint, file: &Path) -> Result<(), CheckpointError> {
    let tensors = checkpoint.index().parts.iter().flat_map(|part| &part.parameters.tensors);
    let mut header = Header::new(file, tensors.map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice())))?;
    header.metadata = [
        ("step".to_owned(), checkpoint.run().step.to_string()),
        ("braidnet".to_owned(), checkpoint.index().version.clone()),
    ]
    .into();
    let head = header.to_bytes(file)?;
    let io = |error| CheckpointError::io("write", file)(error);
    let mut out = File::create(file).map_err(io)?;
    out.write_all(&head).map_err(io)?;
    let starts: HashMap<_, _> = header.tensors.iter().map(|(name, info)| (name, info.data_offsets.0)).collect();
    for part in checkpoint.part_names() {
        for tensor in checkpoint.read_parameters(part)? {
            // All are in the index, as reading has checked, and so in the header.
            let start = head.len() + starts[&tensor.name];
            out.seek(SeekFrom::Start(start as u64)).and_then(|_| out.write_all(&tensor.bytes)).map_err(io)?;
        }
    }
    out.sync_all().map_err(io)
}

/// Reads all tensors of any safetensors file.
///
/// # Errors
/// [`CheckpointError::NotSafetensors`] and its like where the file is not whole or foreign; nothing is allocated on the
/// word of its header alone.
pub fn import(file: impl AsRef<Path>) -> Result<Vec<NamedTensor>, CheckpointError> {
    tensor_file::read(file.as_ref(), None)
}
