//! Headers of safetensors files: written, read and checked.
//!
//! The format: eight bytes, little endian, with the size of the header; the header, JSON, padded with spaces to a
//! multiple of eight; the bytes of the tensors, without gaps.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::Read,
    path::Path,
};

use safetensors::tensor::{Metadata, TensorInfo};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{CheckpointError, Dtype, TensorEntry, tensor::n_bytes};

/// The most bytes of a header, as all readers of the format have it.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes before the header.
const PREFIX: u64 = 8;
/// The key of the free text in a header; no tensor can have its name.
const FREE_TEXT: &str = "__metadata__";

/// The header of a file: its tensors in the order of their bytes.
pub struct Header {
    pub metadata: BTreeMap<String, String>,
    pub tensors: Vec<(String, TensorInfo)>,
}

impl Header {
    /// The header of a new file: large elements first, so that all are aligned, then by name. `file` is for errors.
    pub fn new<'a>(
        file: &Path,
        tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
    ) -> Result<Self, CheckpointError> {
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_unstable_by(|(a, a_dtype, _), (b, b_dtype, _)| b_dtype.cmp(a_dtype).then_with(|| a.cmp(b)));
        let mut start = 0_usize;
        let mut placed = Vec::with_capacity(tensors.len());
        for (name, dtype, shape) in tensors {
            check_name(file, name)?;
            let end = n_bytes(dtype, shape).and_then(|n| start.checked_add(n)).ok_or_else(|| {
                let reason = "is too large: the product of its dims overflows";
                CheckpointError::BadTensor { file: file.to_owned(), tensor: name.to_owned(), reason }
            })?;
            placed.push((name.to_owned(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, end) }));
            start = end;
        }
        check_unique(file, placed.iter().map(|(name, _)| name.as_str()))?;
        Ok(Self { metadata: BTreeMap::new(), tensors: placed })
    }

    /// What comes before the tensors.
    pub fn to_bytes(&self, file: &Path) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = vec![0; PREFIX as usize];
        serde_json::to_writer(&mut bytes, self)
            .map_err(|error| CheckpointError::NotSafetensors { file: file.to_owned(), reason: error.to_string() })?;
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        let size = bytes.len() as u64 - PREFIX;
        check_header_size(file, size, MAX_HEADER)?;
        bytes[..PREFIX as usize].copy_from_slice(&size.to_le_bytes());
        Ok(bytes)
    }

    /// Reads the header of a file of `size` bytes. What it promises is what follows: every tensor has the bytes of its
    /// shape, and together they are the rest of the file.
    pub fn read(file: &Path, stream: &mut impl Read, size: u64) -> Result<Self, CheckpointError> {
        let fault = |reason: String| CheckpointError::NotSafetensors { file: file.to_owned(), reason };
        if size < PREFIX {
            return Err(fault(format!("{size} bytes are too few for a header")));
        }
        let mut prefix = [0; PREFIX as usize];
        stream.read_exact(&mut prefix).map_err(CheckpointError::io("read", file))?;
        let n = u64::from_le_bytes(prefix);
        check_header_size(file, n, MAX_HEADER.min(size - PREFIX))?;
        let mut text = vec![0; n as usize];
        stream.read_exact(&mut text).map_err(CheckpointError::io("read", file))?;
        let mut header: Self = serde_json::from_slice(&text).map_err(|error| fault(format!("header: {error}")))?;
        check_unique(file, header.tensors.iter().map(|(name, _)| name.as_str()))?;
        header.tensors.sort_by_key(|(_, info)| info.data_offsets);
        Metadata::new(None, header.tensors.clone()).map_err(|error| fault(error.to_string()))?;
        let data = header.tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64);
        match data.cmp(&(size - PREFIX - n)) {
            std::cmp::Ordering::Equal => Ok(header),
            _ => Err(fault(format!("its tensors take {data} bytes, but {} follow the header", size - PREFIX - n))),
        }
    }

    /// Holds the tensors against those that the index lists for the file.
    pub fn check(&self, file: &Path, entries: &[TensorEntry]) -> Result<(), CheckpointError> {
        let (file, found): (_, BTreeMap<_, _>) = (file.to_owned(), self.tensors.iter().map(|(n, i)| (n, i)).collect());
        let listed: HashSet<_> = entries.iter().map(|entry| &entry.name).collect();
        if let Some((tensor, _)) = self.tensors.iter().find(|(name, _)| !listed.contains(name)) {
            return Err(CheckpointError::ExtraTensor { file, tensor: tensor.clone() });
        }
        for TensorEntry { name, dtype, shape } in entries {
            let tensor = name.clone();
            let Some(info) = found.get(name) else { return Err(CheckpointError::MissingTensor { file, tensor }) };
            if info.dtype != *dtype {
                return Err(CheckpointError::WrongDtype { file, tensor, expected: *dtype, got: info.dtype });
            }
            if info.shape != *shape {
                return Err(CheckpointError::WrongShape {
                    file,
                    tensor,
                    expected: shape.clone(),
                    got: info.shape.clone(),
                });
            }
        }
        Ok(())
    }
}

fn check_header_size(file: &Path, got: u64, limit: u64) -> Result<(), CheckpointError> {
    if got <= limit {
        return Ok(());
    }
    Err(CheckpointError::TooLarge { file: file.to_owned(), what: "a safetensors header", got, limit })
}

/// Refuses names that no tensor can have.
pub fn check_name(file: &Path, name: &str) -> Result<(), CheckpointError> {
    if !name.is_empty() && name != FREE_TEXT {
        return Ok(());
    }
    let reason = "has a name that the format cannot hold: give it another";
    Err(CheckpointError::BadTensor { file: file.to_owned(), tensor: name.to_owned(), reason })
}

/// Refuses two tensors of one name.
pub fn check_unique<'a>(file: &Path, names: impl Iterator<Item = &'a str>) -> Result<(), CheckpointError> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(CheckpointError::DuplicateTensor { file: file.to_owned(), tensor: name.to_owned() }),
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(FREE_TEXT, &self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

/// Keeps tensors of one name apart, which the map of the `safetensors` crate merges.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header { metadata: BTreeMap::new(), tensors: Vec::new() };
        while let Some(name) = map.next_key::<String>()? {
            if name == FREE_TEXT {
                header.metadata = map.next_value()?;
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}
