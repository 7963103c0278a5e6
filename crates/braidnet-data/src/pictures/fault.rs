//! What can be wrong with the file of a picture.

use super::SIDE;

/// The fault of a picture; [`DataError::Picture`](crate::DataError::Picture) says which file it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureFault {
    /// The file starts neither like JPEG nor like PNG.
    #[error("neither JPEG nor PNG: convert the picture, or fetch it again")]
    Format,

    /// The decoder gave up.
    #[error("the picture cannot be decoded: fetch it again ({reason})")]
    Undecodable {
        /// What the decoder said.
        reason: String,
    },

    /// A JPEG ends before its picture does. What is missing would be filled with grey.
    #[error("the picture is cut short: fetch it again")]
    CutShort,

    /// The picture has another size.
    #[error("{width} x {height} pixels, but a picture has {SIDE} x {SIDE}: scale it, or take another set")]
    Size {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },

    /// Parts of the picture are transparent: their colour depends on what is behind them.
    #[error("parts of the picture are transparent: lay it on a background")]
    Transparent,
}
