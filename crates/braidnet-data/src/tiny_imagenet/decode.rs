//! From the bytes of a file to those of a picture.

use std::{io::Cursor, path::Path};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::{
    DataError, PictureFault,
    pictures::{CHANNELS, SIDE},
};

/// The picture in the bytes of a JPEG or PNG file, told by its first bytes; `file` is only named in errors.
///
/// Grey becomes three equal channels, 16 bits become 8.
///
/// # Shapes
/// `[CHANNELS, SIDE, SIDE]`, row-major.
///
/// # Errors
/// [`DataError::Picture`]. JPEG has no checksum: bytes changed within the picture may decode to another picture.
pub fn decode(file: &Path, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    picture(bytes).map_err(|fault| DataError::Picture { file: file.to_owned(), fault })
}

fn picture(bytes: &[u8]) -> Result<Vec<u8>, PictureFault> {
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        _ => return Err(PictureFault::Format),
    };
    let undecodable = |error: ImageError| PictureFault::Undecodable { reason: error.to_string() };
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(undecodable)?;
    // The header is known, and nothing is allocated yet.
    let (width, height) = decoder.dimensions();
    if (width, height) != (SIDE as u32, SIDE as u32) {
        return Err(PictureFault::Size { width, height });
    }
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(PictureFault::CutShort);
    }
    let image = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    if image.color().has_alpha() && image.to_rgba8().pixels().any(|pixel| pixel[3] != u8::MAX) {
        return Err(PictureFault::Transparent);
    }
    let pixels = image.into_rgb8().into_raw();
    Ok((0..CHANNELS).flat_map(|channel| pixels.iter().skip(channel).step_by(CHANNELS).copied()).collect())
}

/// Whether the end marker is there, which the decoder does without: it comes after the start of the last scan. Neither
/// occurs within the coded picture; a thumbnail in the header has both, but before.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last([0xff, 0xd9]) > last([0xff, 0xda])
}
