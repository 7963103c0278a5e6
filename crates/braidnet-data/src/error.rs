//! The one error type of this crate.

use std::{io, path::PathBuf};

use crate::{LineFault, PictureFault};

/// What can go wrong when data is read or batched.
///
/// Every variant that stems from a file names that file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The folder given does not exist, or is not a folder.
    #[error("{} is not a folder: create it and put the data files there, or name another folder", folder.display())]
    FolderMissing {
        /// The folder asked for.
        folder: PathBuf,
    },

    /// The folder exists, but one of the four files is not in it under any of its usual names.
    #[error(
        "no {} in {}: the folder should hold the four MNIST files (train and t10k, images and labels)",
        looked_for.join(" or "), folder.display()
    )]
    FileMissing {
        /// The folder searched.
        folder: PathBuf,
        /// The names tried, in order.
        looked_for: Vec<String>,
    },

    /// The operating system refused to read the file.
    #[error("cannot read {}: check that it is a readable file ({source})", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason given by the operating system.
        source: io::Error,
    },

    /// The file starts like gzip but cannot be unpacked.
    #[error(
        "{}: the gzip data is damaged, cut short or followed by other bytes: fetch the file again ({source})",
        file.display()
    )]
    CorruptGzip {
        /// The file.
        file: PathBuf,
        /// What the decoder said.
        source: io::Error,
    },

    /// The first four bytes are not those of the kind of file expected.
    #[error(
        "{}: the file starts with {got:#010x}, but idx {kind} start with {expected:#010x}: \
         check that images and labels are not swapped",
        file.display()
    )]
    WrongMagic {
        /// The file.
        file: PathBuf,
        /// `images` or `labels`.
        kind: &'static str,
        /// The number expected.
        expected: u32,
        /// The number found.
        got: u32,
    },

    /// The file ends before its header says it does. Sizes are those after unpacking.
    #[error("{}: {expected} bytes expected, {got} found: the file is cut short, fetch it again", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Bytes the header asks for, header included.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },

    /// The file goes on after the end its header gives. Sizes are those after unpacking.
    #[error("{}: more bytes than the {expected} its header gives: fetch the file again", file.display())]
    TrailingBytes {
        /// The file.
        file: PathBuf,
        /// Bytes the header asks for, header included.
        expected: u64,
    },

    /// A dimension in the header is zero.
    #[error("{}: the header gives zero {dimension}: fetch the file again", file.display())]
    ZeroCount {
        /// The file.
        file: PathBuf,
        /// `images`, `rows`, `columns` or `labels`.
        dimension: &'static str,
    },

    /// The header asks for more than this crate is willing to hold in memory.
    #[error(
        "{}: the header gives {} = {total} bytes, more than the limit of {limit}: fetch the file again or split it",
        file.display(), join_dims(dims)
    )]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The dimensions in the header.
        dims: Vec<u32>,
        /// Their product.
        total: u128,
        /// The most bytes accepted, see [`idx::MAX_BYTES`](crate::idx::MAX_BYTES).
        limit: u64,
    },

    /// An image file and its label file disagree about how many there are.
    #[error(
        "{} holds {n_images} images but {} holds {n_labels} labels: take both from the same set",
        images.display(), labels.display()
    )]
    CountsDiffer {
        /// The image file.
        images: PathBuf,
        /// Images in it.
        n_images: usize,
        /// The label file.
        labels: PathBuf,
        /// Labels in it.
        n_labels: usize,
    },

    /// A label in a file is not one of the classes.
    #[error(
        "{}: label {label} of image {index} is not in 0..={}: take a set with {classes} classes",
        file.display(), classes - 1
    )]
    LabelOutOfRange {
        /// The label file.
        file: PathBuf,
        /// The image, counted from 0.
        index: usize,
        /// Its label.
        label: u8,
        /// The number of classes.
        classes: usize,
    },

    /// The training and the test images are not of one size.
    #[error(
        "{} holds images of {} x {} but {} of {} x {} pixels: take both from the same set",
        train.display(), train_shape[0], train_shape[1], test.display(), test_shape[0], test_shape[1]
    )]
    ShapesDiffer {
        /// The file of training images.
        train: PathBuf,
        /// Rows and columns in it.
        train_shape: [usize; 2],
        /// The file of test images.
        test: PathBuf,
        /// Rows and columns in it.
        test_shape: [usize; 2],
    },

    /// The parts given to [`ImageSet::new`](crate::ImageSet::new) do not fit together.
    #[error(
        "{n_labels} images of {rows} x {cols} need {n_labels} x {rows} x {cols} pixels, got {got}: \
         give every image one label and all its pixels"
    )]
    PixelCount {
        /// Labels given, one an image.
        n_labels: usize,
        /// Rows of an image.
        rows: usize,
        /// Columns of an image.
        cols: usize,
        /// Pixels given.
        got: usize,
    },

    /// A label given to [`ImageSet::new`](crate::ImageSet::new) is not below the number of classes.
    #[error("label {label} of image {index} is not below the {classes} classes: raise the number of classes")]
    LabelNotAClass {
        /// The image, counted from 0.
        index: usize,
        /// Its label.
        label: u8,
        /// The number of classes.
        classes: usize,
    },

    /// A batch of no samples was asked for.
    #[error("batch size 0: give at least 1")]
    ZeroBatch,

    /// A line of a text file is not as its format asks.
    #[error("{}:{line}: {fault}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1, after unpacking.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },

    /// A text file has nothing in it to learn from.
    #[error("{}: no {wanted} in it: fetch the file again, or name another", file.display())]
    EmptyText {
        /// The file.
        file: PathBuf,
        /// What there should be at least one of.
        wanted: &'static str,
    },

    /// A text file is longer than this crate is willing to hold in memory.
    #[error("{}: more than {limit} bytes of text: split the file", file.display())]
    TextTooLarge {
        /// The file.
        file: PathBuf,
        /// The most bytes accepted after unpacking, see [`idx::MAX_BYTES`](crate::idx::MAX_BYTES).
        limit: u64,
    },

    /// A folder of a treebank does not have one file of each part.
    #[error(
        "{}: one file should end in -{part}.conllu or -{part}.conllu.gz, found {}: leave exactly one there",
        folder.display(), if found.is_empty() { "none".to_owned() } else { found.join(" and ") }
    )]
    TreebankFiles {
        /// The folder searched.
        folder: PathBuf,
        /// `train`, `dev` or `test`.
        part: &'static str,
        /// The names that fit, sorted.
        found: Vec<String>,
    },

    /// Two files of translations have not as many lines.
    #[error(
        "{} has {n_source} lines but {} has {n_target}: line by line, one should be the translation of the other",
        source_file.display(), target_file.display()
    )]
    LineCountsDiffer {
        /// The file of sources.
        source_file: PathBuf,
        /// Lines in it.
        n_source: usize,
        /// The file of targets.
        target_file: PathBuf,
        /// Lines in it.
        n_target: usize,
    },

    /// Neither the folder nor the one of the archive in it has the two parts of the motion data.
    #[error(
        "{}: neither it nor a folder \"UCI HAR Dataset\" in it has folders train and test: unpack the archive there, \
         or name another folder",
        folder.display()
    )]
    MotionFolder {
        /// The folder searched.
        folder: PathBuf,
    },

    /// One of the files of motion signals or of their labels is not there.
    #[error(
        "{} is missing: train and test should each hold nine files in \"Inertial Signals\" and one of labels, \
         unpack the whole archive",
        file.display()
    )]
    MotionFileMissing {
        /// The file looked for.
        file: PathBuf,
    },

    /// A file of motion signals or people and its label file have not as many lines.
    #[error(
        "{} has {n_labels} labels but {} has {n_other} lines: take all files of a part from the same set",
        labels.display(), other.display()
    )]
    WindowCountsDiffer {
        /// The label file.
        labels: PathBuf,
        /// Labels in it.
        n_labels: usize,
        /// The other file.
        other: PathBuf,
        /// Lines in it.
        n_other: usize,
    },

    /// A mesh has fewer lines than its header says.
    #[error("{}: {expected} {part} expected, {got} found: the file is cut short, fetch it again", file.display())]
    MeshCutShort {
        /// The file.
        file: PathBuf,
        /// `vertices` or `faces`.
        part: &'static str,
        /// Lines the header asks for.
        expected: usize,
        /// Lines there are.
        got: usize,
    },

    /// A grid of voxels of a size that this crate does not make.
    #[error("{n} voxels a side: give 8 to 128")]
    VoxelSide {
        /// The number given.
        n: usize,
    },

    /// No folder of a class is in the folder of models.
    #[error(
        "{}: neither it nor a folder ModelNet10 in it has folders of classes with train and test in them: unpack the \
         archive there, or name another folder",
        folder.display()
    )]
    ModelFolder {
        /// The folder searched.
        folder: PathBuf,
    },

    /// One part of a class of models is not there, or has no model in it.
    #[error(
        "no model (.off) in {}: each class should have some in train and in test, unpack the whole archive",
        folder.display()
    )]
    ModelsMissing {
        /// The folder of the part.
        folder: PathBuf,
    },

    /// The folder for voxels made before cannot be made.
    #[error(
        "cannot make the folder {} for voxels: name another, or none to do without ({source})",
        folder.display()
    )]
    CacheFolder {
        /// The folder.
        folder: PathBuf,
        /// The reason given by the operating system.
        source: io::Error,
    },

    /// Neither the folder nor the one of the archive in it has the two parts of Tiny ImageNet.
    #[error(
        "{}: neither it nor a folder tiny-imagenet-200 in it has folders train and val: unpack the archive there, \
         or name another folder",
        folder.display()
    )]
    TinyImageNetFolder {
        /// The folder searched.
        folder: PathBuf,
    },

    /// A file or folder of Tiny ImageNet is not there.
    #[error("{} is missing: unpack the whole archive", path.display())]
    TinyImageNetPart {
        /// What was looked for.
        path: PathBuf,
    },

    /// There is no class: no list of classes, and no folder of one.
    #[error("no folder of a class in {}: unpack the whole archive", folder.display())]
    NoClasses {
        /// The folder of training pictures.
        folder: PathBuf,
    },

    /// A class has no folder of training pictures, or no picture in it.
    #[error("no pictures (.JPEG, .jpg, .png) of class {class} in {}: unpack the whole archive", folder.display())]
    NoPictures {
        /// The class.
        class: String,
        /// The folder that should hold its training pictures.
        folder: PathBuf,
    },

    /// A folder of training pictures is of no class on the list.
    #[error("{} is of no class in {}: add its name to the list, or move it away", folder.display(), list.display())]
    ClassNotListed {
        /// The folder.
        folder: PathBuf,
        /// The list of classes.
        list: PathBuf,
    },

    /// A test picture has no annotation, so that its class is unknown.
    #[error("{} has no line in {}: add one, or move the picture away", file.display(), annotations.display())]
    NotAnnotated {
        /// The first such picture.
        file: PathBuf,
        /// The file of annotations.
        annotations: PathBuf,
    },

    /// A file is not a picture that the set could hold.
    #[error("{}: {fault}", file.display())]
    Picture {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: PictureFault,
    },

    /// More classes of generated pictures were asked for than there are, or too few to tell apart.
    #[error("{asked} classes of generated pictures: ask for {least} to {most}")]
    TextureClasses {
        /// Classes asked for.
        asked: usize,
        /// The fewest there can be.
        least: usize,
        /// The most there can be.
        most: usize,
    },

    /// More pairs were asked for than there are numbers to make them of.
    #[error("{asked} {part} pairs asked for, but there are {available}: ask for fewer")]
    TooManyPairs {
        /// `training` or `test`.
        part: &'static str,
        /// Pairs asked for.
        asked: usize,
        /// Pairs there are.
        available: usize,
    },

    /// A text to be encoded has a character that the vocabulary lacks.
    #[error("character {character:?} (number {position}) is not in the vocabulary: use the corpus's characters only")]
    UnknownCharacter {
        /// The character.
        character: char,
        /// Its place in the text, in characters, counted from 1.
        position: usize,
    },

    /// A corpus holds not even one window.
    #[error("a window of {window} needs {window} + 1 characters, the corpus has {got}: take a longer text")]
    CorpusTooShort {
        /// Inputs of a window.
        window: usize,
        /// Characters of the corpus.
        got: usize,
    },

    /// Windows of no characters were asked for.
    #[error("window length 0: give at least 1")]
    ZeroWindow,

    /// The fraction kept for validation is not one.
    #[error("validation fraction {fraction}: give a number from 0 up to, but not including, 1")]
    BadFraction {
        /// The number given.
        fraction: f64,
    },
}

fn join_dims(dims: &[u32]) -> String {
    dims.iter().map(u32::to_string).collect::<Vec<_>>().join(" x ")
}
