//! What can be wrong with one line of a text file.

use std::path::PathBuf;

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

    /// A blank line between windows of motion signals or between their labels.
    #[error("empty: every line belongs to one window, delete the line or fetch the file again")]
    BlankWindow,

    /// A motion signal or a coordinate is no number, or none that single precision can hold.
    #[error("value {column} is {word:?}: write a finite number such as -0.5 or 1.2e-3, or fetch the file again")]
    NotFinite {
        /// The value of the line, counted from 1.
        column: usize,
        /// What is there, cut short where it is long.
        word: String,
    },

    /// A window of motion signals has not as many steps as the others.
    #[error(
        "{got} values, but the first line of {} has {expected}: every line of every signal should have the same number",
        like.display()
    )]
    Steps {
        /// Values of this line.
        got: usize,
        /// Values of the line read first.
        expected: usize,
        /// The file of that line.
        like: PathBuf,
    },

    /// The label of a window is not the number of an activity.
    #[error("label {label:?} is none of 1 to {classes}: take labels of {classes} activities, one a line")]
    NotAnActivity {
        /// The line, cut short where it is long.
        label: String,
        /// The number of activities.
        classes: usize,
    },

    /// A blank line in a list of classes or of annotations.
    #[error("empty: delete the line, or fetch the file again")]
    Blank,

    /// A class is listed a second time.
    #[error("class {wnid:?} is listed in line {first} already: list every class once")]
    ClassTwice {
        /// The class, cut short where it is long.
        wnid: String,
        /// The line that lists it first, counted from 1.
        first: usize,
    },

    /// A line of picture annotations does not have six columns.
    #[error("{got} columns: an annotation has 6, separated by tabs (file name, class, four numbers)")]
    AnnotationColumns {
        /// Columns found.
        got: usize,
    },

    /// A picture is annotated with a class that there is none of.
    #[error("class {wnid:?} is none of the {classes} classes of the training pictures: correct the line")]
    UnknownClass {
        /// The second column, cut short where it is long.
        wnid: String,
        /// The number of classes.
        classes: usize,
    },

    /// An annotation names a picture that is not there.
    #[error("no picture {name:?} in {}: unpack the whole archive, or delete the line", folder.display())]
    PictureAbsent {
        /// The first column, cut short where it is long.
        name: String,
        /// The folder searched.
        folder: PathBuf,
    },

    /// A picture is annotated a second time.
    #[error("picture {name:?} is annotated in line {first} already: leave one of the two lines")]
    AnnotatedTwice {
        /// The first column.
        name: String,
        /// The line that annotates it first, counted from 1.
        first: usize,
    },

    /// The first line of a mesh is not that of an OFF file.
    #[error("begins with {word:?}: an OFF file begins with OFF and has three coordinates a vertex, convert the mesh")]
    NotOff {
        /// What is there, cut short where it is long.
        word: String,
    },

    /// The sizes of a mesh are not given.
    #[error("sizes {text:?}: write the numbers of vertices, faces and edges, such as 8 6 12")]
    MeshSizes {
        /// What is there, cut short where it is long.
        text: String,
    },

    /// A mesh has nothing in it.
    #[error("{vertices} vertices, {faces} faces: a mesh has at least 3 and 1, fetch the file again or delete it")]
    EmptyMesh {
        /// Vertices it says it has.
        vertices: usize,
        /// Faces it says it has.
        faces: usize,
    },

    /// A vertex has not three coordinates.
    #[error("{got} coordinates: a vertex has 3, x y z")]
    Coordinates {
        /// Numbers found.
        got: usize,
    },

    /// A face does not say how many corners it has, or has too few.
    #[error("a face of {word:?} corners: write their number, at least 3, and then the vertices, such as 3 0 1 2")]
    FaceSize {
        /// The first word of the line, cut short where it is long.
        word: String,
    },

    /// A face has fewer corners than it says.
    #[error("{got} corners where the face should have {expected}: the line is cut short, fetch the file again")]
    FaceCutShort {
        /// Corners the face says it has.
        expected: usize,
        /// Corners there are.
        got: usize,
    },

    /// A corner of a face is not the number of a vertex.
    #[error("corner {word:?} is no vertex: vertices are counted from 0 to {}", n_vertices - 1)]
    NotAVertex {
        /// What is there, cut short where it is long.
        word: String,
        /// Vertices of the mesh.
        n_vertices: usize,
    },
}

/// The beginning of a word from a file that may hold anything.
pub(crate) fn shown(word: &str) -> String {
    const LONGEST: usize = 24;
    if word.chars().nth(LONGEST).is_none() {
        return word.to_owned();
    }
    word.chars().take(LONGEST).chain("...".chars()).collect()
}
