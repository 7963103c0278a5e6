//! Grids kept in files: a header that says of which model and how it was made, a bit a voxel, and a checksum.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use crate::{DataError, file, voxels::Fill};

/// How every file begins. The last byte is the version: of the format, and of the way in which voxels are made.
const MAGIC: [u8; 8] = *b"voxels\0\x01";

/// Bytes of the checksum at the end.
const CHECKSUM: usize = size_of::<u32>();

/// What a grid depends on; the header of its file.
#[derive(PartialEq)]
pub(super) struct Key {
    header: Vec<u8>,
    n: usize,
}

impl Key {
    /// Of a model as it is now.
    pub(super) fn of(model: &Path, n: usize, fill: Fill) -> Result<Self, DataError> {
        let unreadable = |source| DataError::Unreadable { file: model.to_owned(), source };
        let metadata = fs::metadata(model).map_err(unreadable)?;
        let changed = metadata.modified().map_err(unreadable)?;
        // Since 1970, or before.
        let (sign, time) = match changed.duration_since(UNIX_EPOCH) {
            Ok(since) => (1, since),
            Err(before) => (-1, before.duration()),
        };
        let mut header = MAGIC.to_vec();
        header.extend((n as u32).to_le_bytes());
        header.extend((fill as u32).to_le_bytes());
        header.extend(metadata.len().to_le_bytes());
        header.extend((sign * time.as_nanos() as i128).to_le_bytes());
        Ok(Self { header, n })
    }

    /// Bytes of the file.
    fn size(&self) -> usize {
        self.header.len() + self.n.pow(3).div_ceil(8) + CHECKSUM
    }
}

/// The file in the folder of the cache for the grid of a model.
pub(super) fn place(cache: &Path, class: &str, part: &str, model: &Path, n: usize, fill: Fill) -> PathBuf {
    let mut name = model.file_name().unwrap_or_default().to_owned();
    let fill = match fill {
        Fill::Surface => "surface",
        Fill::Solid => "solid",
    };
    name.push(format!(".{n}-{fill}.voxels"));
    cache.join(class).join(part).join(name)
}

/// The grid in a file, where there is one that is whole and has this key.
pub(super) fn read(cached: &Path, key: &Key) -> Option<Vec<u8>> {
    // One byte more than expected shows a file that is longer.
    let bytes = file::read(cached, key.size() as u64 + 1).ok()?;
    if bytes.len() != key.size() {
        return None;
    }
    let (content, checksum) = bytes.split_at_checked(bytes.len() - CHECKSUM)?;
    let bits = content.strip_prefix(key.header.as_slice())?;
    let whole = crc32fast::hash(content).to_le_bytes() == checksum;
    whole.then(|| (0..key.n.pow(3)).map(|i| bits[i / 8] >> (i % 8) & 1).collect())
}

/// Puts a grid in a file. Who reads it meanwhile sees the old file or the new one, and never a part of it.
pub(super) fn write(cached: &Path, key: &Key, voxels: &[u8]) -> io::Result<()> {
    let mut bytes = key.header.clone();
    bytes.extend(voxels.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());

    let folder = cached.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Not the usual temporary file, which nobody else may read: the cache may be shared.
    let mut unfinished =
        tempfile::Builder::new().prefix(".unfinished-").make_in(folder, |path| File::create_new(path))?;
    unfinished.write_all(&bytes)?;
    unfinished.persist(cached)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tempfile::TempDir;

    use super::*;

    /// The header of a grid of some model.
    fn key(folder: &TempDir, n: usize) -> Key {
        let model = folder.path().join("model.off");
        fs::write(&model, "OFF").unwrap();
        Key::of(&model, n, Fill::Solid).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_kept_is_what_is_read(n in 8_usize..12, bits in vec(0_u8..2, 11 * 11 * 11)) {
            let folder = TempDir::new().unwrap();
            let (key, cached) = (key(&folder, n), folder.path().join("class/train/grid"));
            write(&cached, &key, &bits[..n * n * n]).unwrap();
            prop_assert_eq!(read(&cached, &key), Some(bits[..n * n * n].to_vec()));
            prop_assert_eq!(fs::metadata(&cached).unwrap().len(), 44 + (n * n * n).div_ceil(8) as u64);
        }

        #[test]
        fn any_bytes_are_no_grid(bytes in vec(any::<u8>(), 0..200), begin in any::<bool>()) {
            let folder = TempDir::new().unwrap();
            let (key, cached) = (key(&folder, 8), folder.path().join("grid"));
            let header = if begin { key.header.as_slice() } else { &[] };
            fs::write(&cached, [header, &bytes].concat()).unwrap();
            prop_assert_eq!(read(&cached, &key), None);
        }
    }

    #[test]
    fn every_damaged_bit_and_every_cut_is_seen() {
        let folder = TempDir::new().unwrap();
        let (key, cached) = (key(&folder, 8), folder.path().join("grid"));
        write(&cached, &key, &[1; 512]).unwrap();
        let sound = fs::read(&cached).unwrap();
        for bit in 0..8 * sound.len() {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&cached, damaged).unwrap();
            assert_eq!(read(&cached, &key), None, "bit {bit}");
        }
        for length in (0..sound.len()).chain([sound.len() + 1]) {
            fs::write(&cached, [sound.as_slice(), &[0]].concat().get(..length).unwrap()).unwrap();
            assert_eq!(read(&cached, &key), None, "{length} bytes");
        }
        fs::write(&cached, sound).unwrap();
        assert_eq!(read(&cached, &key), Some(vec![1; 512]));
    }
}
