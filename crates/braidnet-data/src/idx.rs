//! Reader of idx files of unsigned bytes: images (`idx3`) and labels (`idx1`), plain or gzip.
//!
//! The format (Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*): four
//! bytes of magic, of which the third is the type (8: unsigned byte) and the fourth the number of
//! dimensions; the dimensions as big-endian 32-bit integers; the bytes. Gzip is told by its own
//! magic, not by the name of the file, because browsers like to unpack a download and keep its
//! name.
//!
//! Nothing is allocated on the word of a header: memory grows only with bytes that are really
//! there, and never past [`MAX_BYTES`].

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::{
    DataError,
    file::{self, GZIP_MAGIC},
};

/// The most bytes of data accepted from one file, after unpacking: 1 GiB, twenty times MNIST.
pub const MAX_BYTES: u64 = 1 << 30;

const IMAGES: Kind = Kind { name: "images", magic: 0x0803, dimensions: &["images", "rows", "columns"] };
const LABELS: Kind = Kind { name: "labels", magic: 0x0801, dimensions: &["labels"] };

/// The images of an idx3 file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxImages {
    /// All images, one after another, each row by row.
    pub pixels: Vec<u8>,
    /// How many there are; at least 1.
    pub n_images: usize,
    /// Rows of each; at least 1.
    pub rows: usize,
    /// Columns of each; at least 1.
    pub cols: usize,
}

struct Kind {
    name: &'static str,
    magic: u32,
    dimensions: &'static [&'static str],
}

/// Reads a file of images.
///
/// # Errors
/// Any [`DataError`] about one file: unreadable, damaged gzip, wrong magic, cut short, too long, a
/// zero or absurd dimension.
pub fn read_images(file: &Path) -> Result<IdxImages, DataError> {
    parse_images(file, &read_file(file)?)
}

/// Reads a file of labels; at least one.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels(file: &Path) -> Result<Vec<u8>, DataError> {
    parse_labels(file, &read_file(file)?)
}

/// Images from the bytes of a file, plain or gzip; `file` is only named in errors.
///
/// # Errors
/// As [`read_images`], except that nothing is unreadable.
pub fn parse_images(file: &Path, bytes: &[u8]) -> Result<IdxImages, DataError> {
    let (dims, pixels) = parse(file, bytes, &IMAGES)?;
    Ok(IdxImages { pixels, n_images: dims[0], rows: dims[1], cols: dims[2] })
}

/// Labels from the bytes of a file, plain or gzip; `file` is only named in errors.
///
/// # Errors
/// As [`read_labels`], except that nothing is unreadable.
pub fn parse_labels(file: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    parse(file, bytes, &LABELS).map(|(_, labels)| labels)
}

fn read_file(file: &Path) -> Result<Vec<u8>, DataError> {
    // The longest file accepted, and one byte to see that a longer one goes on.
    file::read(file, MAX_BYTES + 17)
}

fn parse(file: &Path, bytes: &[u8], kind: &Kind) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    if bytes.starts_with(&GZIP_MAGIC) {
        parse_stream(&mut Source { file, stream: MultiGzDecoder::new(bytes) }, kind)
    } else {
        parse_stream(&mut Source { file, stream: bytes }, kind)
    }
}

fn parse_stream<R: Read>(source: &mut Source<'_, R>, kind: &Kind) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let header_len = 4 + 4 * kind.dimensions.len() as u64;
    let header = source.up_to(header_len)?;
    let words: Vec<u32> = header.as_chunks::<4>().0.iter().map(|&word| u32::from_be_bytes(word)).collect();
    // A file of another kind is told as such, even where it is also too short for this one.
    if let Some(&got) = words.first().filter(|&&got| got != kind.magic) {
        return Err(DataError::WrongMagic { file: source.name(), kind: kind.name, expected: kind.magic, got });
    }
    source.check_len(header_len, header.len() as u64)?;

    let dims = &words[1..];
    let data_len = data_len(source.file, dims, kind)?;
    // One byte more than wanted shows trailing bytes, and makes the gzip decoder verify its
    // checksum at the end.
    let mut data = source.up_to(data_len + 1)?;
    source.check_len(header_len + data_len, header_len + data.len() as u64)?;
    data.shrink_to_fit();
    Ok((dims.iter().map(|&dim| dim as usize).collect(), data))
}

/// The product of the dimensions, refused where one is zero or the product absurd.
fn data_len(file: &Path, dims: &[u32], kind: &Kind) -> Result<u64, DataError> {
    if let Some(zero) = dims.iter().position(|&dim| dim == 0) {
        return Err(DataError::ZeroCount { file: file.to_owned(), dimension: kind.dimensions[zero] });
    }
    // At most three factors below 2^32 each: the product fits 128 bits.
    let total: u128 = dims.iter().map(|&dim| u128::from(dim)).product();
    match u64::try_from(total) {
        Ok(total) if total <= MAX_BYTES => Ok(total),
        _ => Err(DataError::TooLarge { file: file.to_owned(), dims: dims.to_vec(), total, limit: MAX_BYTES }),
    }
}

/// The unpacked bytes of a file, and its name for the errors.
struct Source<'a, R> {
    file: &'a Path,
    stream: R,
}

impl<R: Read> Source<'_, R> {
    fn name(&self) -> PathBuf {
        self.file.to_owned()
    }

    /// The next `limit` bytes, or fewer where the stream ends before.
    fn up_to(&mut self, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        match self.stream.by_ref().take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            // The plain stream is a slice, which never fails: what fails is the gzip decoder.
            Err(source) => Err(DataError::CorruptGzip { file: self.name(), source }),
        }
    }

    fn check_len(&self, expected: u64, got: u64) -> Result<(), DataError> {
        match got.cmp(&expected) {
            std::cmp::Ordering::Less => Err(DataError::Truncated { file: self.name(), expected, got }),
            std::cmp::Ordering::Greater => Err(DataError::TrailingBytes { file: self.name(), expected }),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }
}
