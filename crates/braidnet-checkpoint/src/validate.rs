//! An index held against itself: what it lists can be, once each, and is the whole network.

use std::path::Path;

use crate::{
    CheckpointError, FileEntry, Index, PartName,
    header::{check_name, check_unique},
    tensor::n_bytes,
};

/// Checks an index; `file` is for errors.
pub fn validate(index: &Index, file: &Path) -> Result<(), CheckpointError> {
    check_parts(index, file)?;
    for part in &index.parts {
        check_entry(file, part.name, &part.parameters, part.name.parameters_file())?;
        if let Some(moments) = &part.moments {
            check_entry(file, part.name, moments, part.name.moments_file())?;
        }
    }
    let tensors = index.files().flat_map(|entry| &entry.tensors);
    check_unique(file, tensors.map(|tensor| tensor.name.as_str()))
}

/// Every part once, in order. The number of layers is never believed further than there are parts.
fn check_parts(index: &Index, file: &Path) -> Result<(), CheckpointError> {
    let (file, n_layers) = (file.to_owned(), index.run.n_layers);
    let mut expected = PartName::all(n_layers);
    let mut before = None;
    for part in index.parts.iter().map(|part| part.name) {
        if before == Some(part) {
            return Err(CheckpointError::DuplicatePart { file, part });
        }
        match expected.next() {
            Some(next) if next == part => before = Some(part),
            // Out of order, or a layer left out: in both cases the next one is not where it belongs.
            Some(next) if !matches!(part, PartName::Layer(n) if n >= n_layers) => {
                return Err(CheckpointError::MissingPart { file, part: next, n_layers });
            }
            _ => return Err(CheckpointError::UnexpectedPart { file, part, n_layers }),
        }
    }
    match expected.next() {
        None => Ok(()),
        Some(part) => Err(CheckpointError::MissingPart { file, part, n_layers }),
    }
}

fn check_entry(file: &Path, part: PartName, entry: &FileEntry, expected: String) -> Result<(), CheckpointError> {
    if entry.name != expected {
        let got = entry.name.chars().take(80).collect();
        return Err(CheckpointError::BadFileName { file: file.to_owned(), part, expected, got });
    }
    let bad = |reason| Err(CheckpointError::BadEntry { file: file.to_owned(), entry: expected.clone(), reason });
    if entry.sha256.len() != 64 || !entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return bad("the hash is not one");
    }
    let mut total = 0_u64;
    for tensor in &entry.tensors {
        check_name(file, &tensor.name)?;
        let grown = n_bytes(tensor.dtype, &tensor.shape).and_then(|n| total.checked_add(n as u64));
        let Some(grown) = grown.filter(|&n| n < entry.size) else {
            let reason = "takes more bytes than its file has";
            return Err(CheckpointError::BadTensor { file: file.to_owned(), tensor: tensor.name.clone(), reason });
        };
        total = grown;
    }
    Ok(())
}
