//! What can be wrong with one line of a text file.

/// The fault of a line; [`DataError::Line`](crate::DataError::Line) says which line it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// Not valid UTF-8.
    #[error("not UTF-8: convert the file, or fetch it again")]
    NotUtf8,

    /// A blank line where every line should hold a sentence.
    #[error("empty: give every line its sentence, or delete the line in both files")]
    Empty,

    /// A line of CoNLL-U does not have ten columns.
    #[error("{got} columns: a line of CoNLL-U has 10, separated by tabs")]
    Columns {
        /// Columns found.
        got: usize,
    },

    /// A column of CoNLL-U holds nothing.
    #[error("column {column} is empty: write _ where there is nothing to say")]
    EmptyColumn {
        /// The column, counted from 1.
        column: usize,
    },

    /// The first column is none of the three kinds of id.
    #[error("bad id {id:?}: write a word's as 3, a range of words as 3-4, an empty node's as 8.1")]
    BadId {
        /// The first column.
        id: String,
    },

    /// An id that does not follow from those before it.
    #[error(
        "id {id} is out of order: words count 1, 2, 3; a range such as 3-4 comes before its first word and overlaps no \
         other; empty nodes 8.1, 8.2 follow word 8"
    )]
    IdOutOfOrder {
        /// The id.
        id: String,
    },

    /// A range goes on after the last word of its sentence.
    #[error(
        "the sentence ends at word {last_word}, before the end of range {range}: add the words or correct the range"
    )]
    RangeTooLong {
        /// The last range of the sentence.
        range: String,
        /// The last word.
        last_word: u32,
    },

    /// A comment between the tokens of a sentence.
    #[error("comment inside a sentence: move it before the first word, or put a blank line before it")]
    LateComment,
}
