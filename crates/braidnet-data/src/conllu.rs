//! Reader of CoNLL-U, the format of the Universal Dependencies treebanks, plain or gzip.
//!
//! The format (<https://universaldependencies.org/format.html>): a line for each token, ten columns
//! separated by tabs, `_` in a column with nothing to say; comment lines, which begin with `#`,
//! before the tokens; a blank line after them. The first column is the token's [`Id`].
//!
//! Where the format is stricter than any harm done, this reader is not: the last sentence needs no
//! blank line, blank lines may be several, lines may end in CR LF, and comments with no tokens
//! after them are passed on to the next sentence. The columns after the first are not checked, but
//! that they are not empty.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{DataError, LineFault, file};

/// A sentence: at least one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The comment lines before it, as they are: with the `#`.
    pub comments: Vec<String>,
    /// The lines of the sentence, ranges and empty nodes among them, in the file's order.
    pub tokens: Vec<Token>,
}

/// A line of a sentence; the fields are the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Place in the sentence, and kind.
    pub id: Id,
    /// The word as it is written.
    pub form: String,
    /// Its dictionary form.
    pub lemma: String,
    /// Part of speech, of the 17 that all languages share.
    pub upos: String,
    /// Part of speech, of the treebank's own.
    pub xpos: String,
    /// Morphological features.
    pub feats: String,
    /// The word it depends on; 0 is the root.
    pub head: String,
    /// How it depends on that word.
    pub deprel: String,
    /// The graph of enhanced dependencies.
    pub deps: String,
    /// Anything else.
    pub misc: String,
}

/// What kind of token a line is, and where in the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// `3`: a word. They count from 1.
    Word(u32),
    /// `3-4`: these words are written as one, whose form this line gives, as in *don't*.
    Range(u32, u32),
    /// `8.1`: the first node after word 8 that stands for no written word.
    Empty(u32, u32),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Empty(word, node) => write!(f, "{word}.{node}"),
        }
    }
}

/// Reads the sentences of a file.
///
/// # Errors
/// [`DataError`]: unreadable, damaged gzip, too large, not UTF-8, no sentence at all; or a
/// [`LineFault`] with its line: not ten columns, an empty column, a bad id, ids out of order, a
/// comment among the tokens.
pub fn read(file: &Path) -> Result<Vec<Sentence>, DataError> {
    parse_text(file, &file::read_text(file)?)
}

/// Sentences from the bytes of a file, plain or gzip; `file` is only named in errors.
///
/// # Errors
/// As [`read`], except that nothing is unreadable.
pub fn parse(file: &Path, bytes: Vec<u8>) -> Result<Vec<Sentence>, DataError> {
    parse_text(file, &file::text(file, bytes)?)
}

fn parse_text(file: &Path, text: &str) -> Result<Vec<Sentence>, DataError> {
    let mut parser = Parser::default();
    let mut n_lines = 0;
    for (i, line) in text.lines().enumerate() {
        n_lines = i + 1;
        parser.line(line).map_err(|fault| at(file, n_lines, fault))?;
    }
    // The end of the file is the blank line that the last sentence may lack.
    parser.line("").map_err(|fault| at(file, n_lines, fault))?;
    if parser.sentences.is_empty() {
        return Err(DataError::EmptyText { file: file.to_owned(), wanted: "sentence" });
    }
    Ok(parser.sentences)
}

fn at(file: &Path, line: usize, fault: LineFault) -> DataError {
    DataError::Line { file: PathBuf::from(file), line, fault }
}

/// The sentences so far, and the one that is being read.
#[derive(Default)]
struct Parser {
    sentences: Vec<Sentence>,
    comments: Vec<String>,
    tokens: Vec<Token>,
    order: Order,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), LineFault> {
        if line.is_empty() {
            return self.end_sentence();
        }
        if line.starts_with('#') {
            if !self.tokens.is_empty() {
                return Err(LineFault::LateComment);
            }
            self.comments.push(line.to_owned());
            return Ok(());
        }
        let token = token(line)?;
        self.order.check(token.id)?;
        self.tokens.push(token);
        Ok(())
    }

    fn end_sentence(&mut self) -> Result<(), LineFault> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        std::mem::take(&mut self.order).check_end()?;
        let (comments, tokens) = (std::mem::take(&mut self.comments), std::mem::take(&mut self.tokens));
        self.sentences.push(Sentence { comments, tokens });
        Ok(())
    }
}

/// The last ids of a sentence: what the next may be.
#[derive(Default)]
struct Order {
    word: u32,
    /// The last empty node after that word.
    node: u32,
    range: Option<(u32, u32)>,
}

impl Order {
    fn check(&mut self, id: Id) -> Result<(), LineFault> {
        let range_end = self.range.map_or(0, |(_, last)| last);
        let in_order = match id {
            Id::Word(word) => word == self.word + 1,
            Id::Range(first, last) => first == self.word + 1 && first < last && range_end < first,
            Id::Empty(word, node) => word == self.word && node == self.node + 1,
        };
        if !in_order {
            return Err(LineFault::IdOutOfOrder { id: id.to_string() });
        }
        match id {
            Id::Word(word) => (self.word, self.node) = (word, 0),
            Id::Range(first, last) => self.range = Some((first, last)),
            Id::Empty(_, node) => self.node = node,
        }
        Ok(())
    }

    fn check_end(self) -> Result<(), LineFault> {
        match self.range {
            Some((first, last)) if last > self.word => {
                Err(LineFault::RangeTooLong { range: Id::Range(first, last).to_string(), last_word: self.word })
            }
            _ => Ok(()),
        }
    }
}

fn token(line: &str) -> Result<Token, LineFault> {
    let columns: Vec<&str> = line.split('\t').collect();
    let Ok([id, rest @ ..]) = <[&str; 10]>::try_from(columns.as_slice()) else {
        return Err(LineFault::Columns { got: columns.len() });
    };
    if let Some(empty) = columns.iter().position(|column| column.is_empty()) {
        return Err(LineFault::EmptyColumn { column: empty + 1 });
    }
    let id = parse_id(id).ok_or_else(|| LineFault::BadId { id: id.to_owned() })?;
    let [form, lemma, upos, xpos, feats, head, deprel, deps, misc] = rest.map(str::to_owned);
    Ok(Token { id, form, lemma, upos, xpos, feats, head, deprel, deps, misc })
}

fn parse_id(text: &str) -> Option<Id> {
    let pair = |(a, b): (&str, &str)| Some((a.parse().ok()?, b.parse().ok()?));
    let id = if let Some(both) = text.split_once('-') {
        pair(both).map(|(first, last)| Id::Range(first, last))
    } else if let Some(both) = text.split_once('.') {
        pair(both).map(|(word, node)| Id::Empty(word, node))
    } else {
        text.parse().ok().map(Id::Word)
    };
    // Written in one way only: no sign, no leading zero.
    id.filter(|id| id.to_string() == text)
}
