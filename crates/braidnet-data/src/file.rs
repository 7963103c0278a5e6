//! The bytes of a file, and the text in them.

use std::{fs, io::Read, path::Path};

use flate2::read::MultiGzDecoder;

use crate::{DataError, LineFault, idx::MAX_BYTES};

/// How every gzip file starts. The name of a file says nothing: browsers like to unpack a download and keep its name.
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file as they are, at most `limit`.
pub(crate) fn read(file: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    match fs::File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(DataError::Unreadable { file: file.to_owned(), source }),
    }
}

/// The text of a file, plain or gzip.
pub(crate) fn read_text(file: &Path) -> Result<String, DataError> {
    // One byte more than accepted shows a file that is longer.
    text(file, read(file, MAX_BYTES + 1)?)
}

/// The text in the bytes of a file, plain or gzip, without a byte order mark; `file` is only named in errors.
pub(crate) fn text(file: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    let bytes = if bytes.starts_with(&GZIP_MAGIC) { unpack(file, &bytes)? } else { bytes };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DataError::TextTooLarge { file: file.to_owned(), limit: MAX_BYTES });
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        DataError::Line { file: file.to_owned(), line, fault: LineFault::NotUtf8 }
    })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

fn unpack(file: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut unpacked = Vec::new();
    match MultiGzDecoder::new(bytes).take(MAX_BYTES + 1).read_to_end(&mut unpacked) {
        Ok(_) => Ok(unpacked),
        Err(source) => Err(DataError::CorruptGzip { file: file.to_owned(), source }),
    }
}
