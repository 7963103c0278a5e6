//! The real treebank and the real play, where they are at hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use braidnet_data::{
    Vocabulary, bucket, characters,
    conllu::{self, Id, Sentence},
    sampler, tagging,
};

fn first_words(vocabulary: &Vocabulary, n: u32) -> Vec<&str> {
    (0..n).map(|index| vocabulary.word(index)).collect()
}

fn count(sentences: &[Sentence], kind: fn(Id) -> bool) -> usize {
    sentences.iter().flat_map(|sentence| &sentence.tokens).filter(|token| kind(token.id)).count()
}

#[test]
fn every_line_of_gum_is_read() {
    let Some(folder) = common::real_folder("gum") else { return };
    let read = |part: &str| conllu::read(&folder.join(format!("en_gum-ud-{part}.conllu.gz"))).unwrap();
    let tokens = |sentences: &[Sentence]| sentences.iter().map(|sentence| sentence.tokens.len()).sum::<usize>();
    let [train, dev, test] = ["train", "dev", "test"].map(read);
    assert_eq!([&train, &dev, &test].map(Vec::len), [6_917, 1_117, 1_096]);
    assert_eq!([&train, &dev, &test].map(|part| tokens(part)), [126_529, 19_959, 20_169]);
    assert_eq!(count(&train, |id| matches!(id, Id::Range(..))), 1_606);
    assert_eq!(count(&train, |id| matches!(id, Id::Empty(..))), 74);
    assert_eq!(train.iter().map(|sentence| sentence.tokens.len()).max(), Some(101));
    assert!(train.iter().all(|sentence| sentence.comments.iter().any(|line| line.starts_with("# sent_id = "))));
}

#[test]
fn gum_has_the_forms_and_tags_of_the_published_experiments() {
    let Some(folder) = common::real_folder("gum") else { return };
    let split = tagging::load(&folder).unwrap();
    let (forms, tags) = (&split.vocabulary.forms, &split.vocabulary.tags);
    assert_eq!((forms.len(), tags.len()), (15_514, 49));
    assert_eq!(first_words(forms, 8), ["<p>", "<u>", "<r>", ",", ".", "the", "of", "and"]);
    assert_eq!(first_words(tags, 8), ["<p>", "<u>", "<r>", "NN", "IN", "DT", "NNP", "JJ"]);
    assert_eq!([&split.train, &split.dev, &split.test].map(|set| set.len()), [6_917, 1_117, 1_096]);
    // Far down, where ties are many, the order is still theirs.
    assert_eq!((forms.word(10_000), forms.word(15_513), forms.index("Zurbarán")), ("armholes", "Coffee", 2_206));
    assert_eq!([46, 47, 48].map(|tag| tags.word(tag)), ["LS", "WP$", "VERB"]);
    // The root is one more.
    assert_eq!(split.train.lengths().into_iter().max(), Some(102));

    let unknown = |set: &tagging::TaggingSet| {
        let forms = set.sentences.iter().flat_map(|sentence| &sentence.forms);
        forms.filter(|&&form| form == tagging::UNKNOWN).count()
    };
    assert_eq!([&split.train, &split.dev, &split.test].map(unknown), [0, 1_735, 2_151]);
}

#[test]
fn buckets_save_most_of_the_padding_of_gum() {
    let Some(folder) = common::real_folder("gum") else { return };
    let lengths = tagging::load(&folder).unwrap().train.lengths();
    let padded = |order: &[usize]| -> usize {
        let longest = |batch: &[usize]| batch.iter().map(|&sentence| lengths[sentence]).max().unwrap();
        sampler::batches(order, 8).unwrap().map(|batch| batch.len() * longest(batch)).sum()
    };
    let tokens: usize = lengths.iter().sum();
    let plain = padded(&sampler::epoch_order(lengths.len(), 1, 0)) - tokens;
    let bucketed = padded(&bucket::bucketed_order(&lengths, 8, 1, 0).unwrap()) - tokens;
    println!("{tokens} tokens; padding {plain} in plain batches, {bucketed} in buckets");
    assert!(bucketed * 20 < plain);
}

#[test]
fn the_play_is_cut_at_nine_tenths() {
    let Some(folder) = common::real_folder("shakespeare") else { return };
    let split = characters::read(&folder.join("input.txt"), 0.1).unwrap();
    assert_eq!((split.characters.len(), split.train.len(), split.validation.len()), (65, 1_003_854, 111_540));
    assert_eq!(split.train.n_windows(256).unwrap(), 3_921);
    let (inputs, targets) = split.train.window(0, 14);
    assert_eq!(
        (split.characters.decode(inputs), split.characters.decode(targets)),
        ("First Citizen:".to_owned(), "irst Citizen:\n".to_owned())
    );
}
