//! CoNLL-U: what is read from sound files, and what is said of others.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{io::Write, path::Path};

use braidnet_data::{
    DataError, LineFault,
    conllu::{self, Id, Sentence},
};
use flate2::{Compression, write::GzEncoder};

const NAME: &str = "some/en-train.conllu";

/// Two sentences with all kinds of lines.
const SOUND: &str = "\
# sent_id = 1
# text = Don't go.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\tMood=Imp\t3\taux\t3:aux\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t3:advmod\t_
3\tgo\tgo\tVERB\tVB\tMood=Imp\t0\troot\t0:root\tSpaceAfter=No
3.1\twent\tgo\tVERB\tVBD\t_\t_\t_\t3:conj\tCopyOf=3
3.2\tgone\tgo\tVERB\tVBN\t_\t_\t_\t3:conj\t_
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t3:punct\t_

0.1\tgone\tgo\tVERB\tVBN\t_\t_\t_\t0:root\t_
1\tHe re\the\tPRON\tPRP\t_\t0\troot\t0:root\t_

";

fn parse(text: &str) -> Result<Vec<Sentence>, DataError> {
    conllu::parse(Path::new(NAME), text.as_bytes().to_vec())
}

/// A file whose sentence has these ids.
fn with_ids(ids: &str) -> String {
    ids.split(' ').map(|id| format!("{id}\t_\t_\t_\t_\t_\t_\t_\t_\t_\n")).collect()
}

fn fault(text: &str) -> (usize, LineFault) {
    match parse(text) {
        Err(DataError::Line { file, line, fault }) => {
            assert_eq!(file, Path::new(NAME));
            (line, fault)
        }
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn all_kinds_of_lines_are_read() {
    let sentences = parse(SOUND).unwrap();
    let ids = |sentence: &Sentence| sentence.tokens.iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(
        ids(&sentences[0]),
        [Id::Range(1, 2), Id::Word(1), Id::Word(2), Id::Word(3), Id::Empty(3, 1), Id::Empty(3, 2), Id::Word(4)]
    );
    assert_eq!(ids(&sentences[1]), [Id::Empty(0, 1), Id::Word(1)]);
    assert_eq!(sentences[0].comments, ["# sent_id = 1", "# text = Don't go."]);
    let go = &sentences[0].tokens[3];
    let columns = [&go.form, &go.lemma, &go.upos, &go.xpos, &go.feats, &go.head, &go.deprel, &go.deps, &go.misc];
    assert_eq!(columns, ["go", "go", "VERB", "VB", "Mood=Imp", "0", "root", "0:root", "SpaceAfter=No"]);
    assert_eq!(sentences[1].tokens[1].form, "He re");
}

#[test]
fn the_end_and_the_blank_lines_are_taken_as_they_come() {
    let sentences = parse(SOUND).unwrap();
    let same = |text: &str| assert_eq!(parse(text).unwrap(), sentences, "{text:?}");
    same(SOUND.trim_end());
    same(&format!("\n\n{}\n\n\n# the end\n", SOUND.replace("\n\n", "\n\n\n")));
    same(&SOUND.replace('\n', "\r\n"));
    same(&format!("\u{feff}{SOUND}"));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(SOUND.as_bytes()).unwrap();
    assert_eq!(conllu::parse(Path::new(NAME), encoder.finish().unwrap()).unwrap(), sentences);
}

#[test]
fn columns_are_counted() {
    assert_eq!(fault("# text\n1 go go _ _ _ _ _ _ _\n"), (2, LineFault::Columns { got: 1 }));
    assert_eq!(fault(&SOUND.replace("\tSpaceAfter=No", "")), (6, LineFault::Columns { got: 9 }));
    assert_eq!(fault(&SOUND.replace("CopyOf=3", "CopyOf=3\t_")), (7, LineFault::Columns { got: 11 }));
    assert_eq!(fault(&SOUND.replace("\tdo\t", "\t\t")), (4, LineFault::EmptyColumn { column: 3 }));
    assert_eq!(fault(" \n"), (1, LineFault::Columns { got: 1 }));
    assert_eq!(
        parse("a\tb\n").unwrap_err().to_string(),
        "some/en-train.conllu:1: 2 columns: a line of CoNLL-U has 10, separated by tabs"
    );
}

#[test]
fn ids_are_of_three_kinds_written_in_one_way() {
    for id in ["x", "", "+1", "01", "1-", "-1", "1-2-3", "1.2.3", "1.02", "1,2", "4294967296", "1 ", "₁", "1–2"] {
        if id.is_empty() {
            assert_eq!(fault(&with_ids(id)), (1, LineFault::EmptyColumn { column: 1 }));
        } else {
            let text = format!("{id}\t_\t_\t_\t_\t_\t_\t_\t_\t_\n");
            assert_eq!(fault(&text), (1, LineFault::BadId { id: id.to_owned() }));
        }
    }
}

#[test]
fn ids_are_in_order() {
    for sound in ["1 2 3", "0.1 0.2 1", "1-2 1 2", "1-2 1 1.1 2", "1 2-4 2 3 4 5-6 5 6 6.1"] {
        assert!(parse(&with_ids(sound)).is_ok(), "{sound}");
    }
    for (ids, line) in [
        ("0", 1),
        ("2", 1),
        ("1 1", 2),
        ("1 3", 2),
        ("1 2 1", 3),
        ("0.2", 1),
        ("1.1 1", 1),
        ("1 1.2", 2),
        ("1 1.1 1.1", 3),
        ("1 2 1.1", 3),
        ("1 1-2 2", 2),
        ("2-3 1 2 3", 1),
        ("1-1 1", 1),
        ("2-1 1 2", 1),
        ("1-2 1-2 1 2", 2),
        ("1-3 1 2-3 2 3", 3),
        ("1 4294967295", 2),
        ("1-4294967295 1 2-3", 3),
    ] {
        let id = ids.split(' ').nth(line - 1).unwrap().to_owned();
        assert_eq!(fault(&with_ids(ids)), (line, LineFault::IdOutOfOrder { id }), "{ids}");
    }
    // They start again with each sentence.
    assert_eq!(parse(&format!("{0}\n{0}", with_ids("1-2 1 2"))).unwrap().len(), 2);
}

#[test]
fn a_range_ends_within_its_sentence() {
    let range = |range: &str, last_word| LineFault::RangeTooLong { range: range.to_owned(), last_word };
    assert_eq!(fault(&format!("{}\n{}", with_ids("1 2-3 2"), with_ids("1"))), (4, range("2-3", 2)));
    assert_eq!(fault(&with_ids("1-2")), (1, range("1-2", 0)));
}

#[test]
fn comments_come_before_the_words() {
    assert_eq!(fault(&format!("{}# late\n", with_ids("1 2"))), (3, LineFault::LateComment));
}

#[test]
fn text_that_is_not_utf_8_is_found() {
    let mut bytes = SOUND.as_bytes().to_vec();
    let place = SOUND.find("gone").unwrap();
    bytes[place] = 0xe9;
    let error = conllu::parse(Path::new(NAME), bytes).unwrap_err();
    assert!(matches!(error, DataError::Line { line: 8, fault: LineFault::NotUtf8, .. }), "{error}");
    assert_eq!(error.to_string(), "some/en-train.conllu:8: not UTF-8: convert the file, or fetch it again");
}

#[test]
fn files_without_a_sentence_are_refused() {
    for text in ["", "\n\n", "# newdoc\n\n# nothing\n"] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, DataError::EmptyText { .. }), "{text:?}: {error}");
        assert!(error.to_string().starts_with("some/en-train.conllu: no sentence in it"), "{error}");
    }
}

#[test]
fn damaged_gzip_is_told_as_such() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(SOUND.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    for len in 2..packed.len() {
        let error = conllu::parse(Path::new(NAME), packed[..len].to_vec()).unwrap_err();
        assert!(matches!(error, DataError::CorruptGzip { .. }), "{len} bytes: {error}");
    }
    assert!(matches!(conllu::read(Path::new("/nowhere/at/all")), Err(DataError::Unreadable { .. })));
}
