//! Files and folders: opened with care, hashed, put on the disk for good.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::CheckpointError;

/// Bytes hashed at a time.
const CHUNK: usize = 1 << 18;

/// Counts and hashes what passes through it.
pub struct Hashing<W> {
    inner: W,
    digest: Sha256,
    n_bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, digest: Sha256::new(), n_bytes: 0 }
    }

    /// The writer, the bytes that passed and their hash.
    pub fn finish(self) -> (W, u64, String) {
        (self.inner, self.n_bytes, hex(self.digest))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.digest.update(&bytes[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(digest: Sha256) -> String {
    format!("{:x}", digest.finalize())
}

/// Opens a plain file for reading, and tells its size. Never waits, as opening a pipe would.
pub fn open(file: &Path) -> Result<(File, u64), CheckpointError> {
    let size = plain_size(file)?;
    Ok((File::open(file).map_err(CheckpointError::io("read", file))?, size))
}

/// The size of a plain file.
pub fn plain_size(file: &Path) -> Result<u64, CheckpointError> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err(CheckpointError::NotAFile { file: file.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(CheckpointError::MissingFile { file: file.to_owned() })
        }
        Err(error) => Err(CheckpointError::io("read", file)(error)),
    }
}

/// Reads a whole file of at most `limit` bytes.
pub fn read_small(file: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, CheckpointError> {
    let (opened, size) = open(file)?;
    if size > limit {
        return Err(CheckpointError::TooLarge { file: file.to_owned(), what, got: size, limit });
    }
    let mut bytes = Vec::new();
    opened.take(limit).read_to_end(&mut bytes).map_err(CheckpointError::io("read", file))?;
    Ok(bytes)
}

/// Holds the size and the hash of a file against those expected, in constant memory.
pub fn check_hash(file: &Path, size: u64, sha256: &str) -> Result<(), CheckpointError> {
    let (mut opened, got) = open(file)?;
    check_size(file, size, got)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match opened.read(&mut chunk).map_err(CheckpointError::io("read", file))? {
            0 => break,
            n => digest.update(&chunk[..n]),
        }
    }
    let got = hex(digest);
    if got == sha256 {
        return Ok(());
    }
    Err(CheckpointError::WrongHash { file: file.to_owned(), expected: sha256.to_owned(), got })
}

pub fn check_size(file: &Path, expected: u64, got: u64) -> Result<(), CheckpointError> {
    if got == expected { Ok(()) } else { Err(CheckpointError::WrongSize { file: file.to_owned(), expected, got }) }
}

/// Writes a new file and waits until it is on the disk.
pub fn write_new(file: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let write = |mut created: File| created.write_all(bytes).and_then(|()| created.sync_all());
    File::create_new(file).and_then(write).map_err(CheckpointError::io("write", file))
}

/// Waits until a file is on the disk.
pub fn sync(file: &Path) -> Result<(), CheckpointError> {
    // For writing: some systems refuse to sync what is only read.
    let opened = File::options().write(true).open(file);
    opened.and_then(|opened| opened.sync_all()).map_err(CheckpointError::io("sync", file))
}

/// Waits until the names in a folder are on the disk.
pub fn sync_folder(folder: &Path) -> Result<(), CheckpointError> {
    // Elsewhere a folder cannot be opened, and its names are written through.
    if cfg!(unix) {
        return File::open(folder).and_then(|f| f.sync_all()).map_err(CheckpointError::io("sync", folder));
    }
    Ok(())
}

/// Gives a file or folder its final name, and waits until that is on the disk.
pub fn rename(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    fs::rename(from, to).map_err(CheckpointError::io("rename to", to))?;
    sync_folder(parent(to))
}

/// The folder that something is in; also of a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
