//! Files of tensors: written and hashed in one pass, read tensor by tensor.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
};

use safetensors::tensor::TensorInfo;

use crate::{CheckpointError, FileEntry, NamedTensor, TensorEntry, files, files::Hashing, header::Header};

/// Small tensors are gathered into writes of this size; larger ones go past the buffer.
const BUFFER: usize = 1 << 16;

/// Writes a new file, and says what is in it. The bytes are copied nowhere in memory, and may not be on the disk yet.
pub fn write(file: &Path, tensors: &[NamedTensor]) -> Result<FileEntry, CheckpointError> {
    let header = Header::new(file, tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice())))?;
    let by_name: HashMap<_, _> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let ordered = || header.tensors.iter().filter_map(|(name, info)| Some((by_name.get(name.as_str())?, info)));
    for (tensor, info) in ordered() {
        check_filled(file, tensor, info.data_offsets)?;
    }
    let head = header.to_bytes(file)?;
    let fill = |created: File| {
        let mut out = Hashing::new(BufWriter::with_capacity(BUFFER, created));
        out.write_all(&head)?;
        ordered().try_for_each(|(tensor, _)| out.write_all(&tensor.bytes))?;
        let (buffer, size, sha256) = out.finish();
        buffer.into_inner()?;
        Ok((size, sha256))
    };
    let (size, sha256) = File::create_new(file).and_then(fill).map_err(CheckpointError::io("write", file))?;
    let tensors = header.tensors.into_iter();
    let tensors = tensors.map(|(name, info)| TensorEntry { name, dtype: info.dtype, shape: info.shape }).collect();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(FileEntry { name, size, sha256, tensors })
}

fn check_filled(file: &Path, tensor: &NamedTensor, (start, end): (usize, usize)) -> Result<(), CheckpointError> {
    if tensor.bytes.len() == end - start {
        return Ok(());
    }
    let reason = "has not as many bytes as its shape takes: give every element its bytes";
    Err(CheckpointError::BadTensor { file: file.to_owned(), tensor: tensor.name.clone(), reason })
}

/// Reads all tensors of a file; `entries` says what they must be. Memory is taken for bytes that are there.
pub fn read(file: &Path, entries: Option<&[TensorEntry]>) -> Result<Vec<NamedTensor>, CheckpointError> {
    let (opened, size) = files::open(file)?;
    let mut stream = BufReader::with_capacity(BUFFER, opened);
    let header = Header::read(file, &mut stream, size)?;
    if let Some(entries) = entries {
        header.check(file, entries)?;
    }
    let tensor = |(name, info): (String, TensorInfo)| {
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        stream.read_exact(&mut bytes).map_err(CheckpointError::io("read", file))?;
        Ok(NamedTensor { name, dtype: info.dtype, shape: info.shape, bytes })
    };
    header.tensors.into_iter().map(tensor).collect()
}

/// Holds a file's size, hash and header against the index, without reading its tensors into memory.
pub fn check(file: &Path, entry: &FileEntry) -> Result<(), CheckpointError> {
    files::check_hash(file, entry.size, &entry.sha256)?;
    let (mut opened, size) = files::open(file)?;
    Header::read(file, &mut opened, size)?.check(file, &entry.tensors)
}
