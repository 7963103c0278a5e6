//! `metrics.jsonl`: what is written reads back, also after kills.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use braidnet_monitor::metrics::{
    Checkpoint, Epoch, Event, MetricsWriter, Probe, RanksAre, Record, Run, SCHEMA, Step, read,
};
use proptest::prelude::*;
use tempfile::TempDir;

fn file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run").join("metrics.jsonl");
    (dir, path)
}

fn run(resumed_from: Option<u64>) -> Record {
    Record::Run(Run {
        schema: SCHEMA,
        version: "0.1.0".into(),
        started: 1_700_000_000,
        layers: 64,
        layer_ranks: 4,
        data_ranks: 1,
        batch: 50,
        micro_batches: 1,
        schedule: "2 levels".into(),
        optimizer: "sgd".into(),
        seed: u64::MAX,
        parameters: 12_345,
        resumed_from,
        ranks_are: RanksAre::Mpi,
        device_path: Some("direct".into()),
        config: serde_json::json!({ "width": 8 }),
    })
}

fn step(step: u64, loss: f64) -> Record {
    Record::Step(Step { step, loss: Some(loss), ..Step::default() })
}

fn epoch(epoch: u64, loss: f64) -> Record {
    Record::Epoch(Epoch { epoch, loss: Some(loss), ..Epoch::default() })
}

fn event(step: u64, what: &str) -> Record {
    Record::Event(Event { step, what: what.into(), detail: String::new() })
}

fn write_all(writer: &mut MetricsWriter, records: &[Record]) {
    for record in records {
        writer.write(record).unwrap();
    }
}

/// One record of each kind.
fn one_of_each() -> Vec<Record> {
    let checkpoint = Checkpoint { step: 1, path: "step-1".into(), seconds: 0.5, bytes: 9 };
    let probe = Probe { step: 1, gradient_error: Some(1e-3), ..Probe::default() };
    let (probe, checkpoint) = (Record::Probe(probe), Record::Checkpoint(checkpoint));
    vec![run(None), step(1, 0.5), probe, epoch(0, 0.25), checkpoint, event(1, "signal")]
}

#[test]
fn every_kind_reads_back() {
    let (_dir, path) = file();
    write_all(&mut MetricsWriter::create(&path).unwrap(), &one_of_each());
    assert_eq!(read(&path).unwrap(), one_of_each());
    let kinds: Vec<_> =
        fs::read_to_string(&path).unwrap().lines().map(|line| line.split('"').nth(3).unwrap().to_owned()).collect();
    assert_eq!(kinds, ["run", "step", "probe", "epoch", "checkpoint", "event"]);
}

proptest! {
    #[test]
    fn numbers_keep_their_bits(loss in any::<u64>(), rate in any::<u64>(), number in any::<u64>()) {
        let (loss, rate) = (f64::from_bits(loss), f64::from_bits(rate));
        let (_dir, path) = file();
        let record = Step { step: number, loss: Some(loss), learning_rate: rate, ..Step::default() };
        write_all(&mut MetricsWriter::create(&path).unwrap(), &[Record::Step(record)]);
        let records = read(&path).unwrap();
        let Record::Step(back) = &records[0] else { panic!("{records:?}") };
        prop_assert_eq!(back.step, number);
        prop_assert_eq!(back.loss.map(f64::to_bits), loss.is_finite().then_some(loss.to_bits()));
        let expected = if rate.is_finite() { rate } else { f64::NAN };
        prop_assert_eq!(back.learning_rate.to_bits(), expected.to_bits());
    }

    /// However often a run is killed and resumed, each step counts once, with the loss of the last time it was done.
    #[test]
    fn kills_and_resumes_leave_each_step_once(
        rounds in prop::collection::vec((0..8_u64, 1..9_u64, 0..60_usize), 1..8),
    ) {
        let (_dir, path) = file();
        let mut losses: Vec<f64> = Vec::new();
        for (round, (back, n_steps, torn)) in rounds.into_iter().enumerate() {
            let from = (losses.len() as u64).saturating_sub(back);
            losses.truncate(from as usize);
            let mut writer = MetricsWriter::resume(&path, from).unwrap();
            for number in from + 1..=from + n_steps {
                let loss = number as f64 + round as f64 / 16.0;
                writer.write(&step(number, loss)).unwrap();
                losses.push(loss);
            }
            drop(writer);
            tear(&path, &step(from + n_steps + 1, 0.0), torn);
        }
        let steps: Vec<_> = read(&path).unwrap().into_iter().filter(|record| matches!(record, Record::Step(_))).collect();
        let expected: Vec<_> = (1..).zip(losses).map(|(number, loss)| step(number, loss)).collect();
        prop_assert_eq!(steps, expected);
    }
}

/// Appends the first bytes of a record, as a kill leaves them.
fn tear(path: &Path, record: &Record, n_bytes: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend(&serde_json::to_vec(record).unwrap()[..n_bytes]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_cut_anywhere_reads_and_resumes() {
    let (_dir, path) = file();
    let records = one_of_each();
    write_all(&mut MetricsWriter::create(&path).unwrap(), &records);
    let bytes = fs::read(&path).unwrap();
    for n in 0..=bytes.len() {
        fs::write(&path, &bytes[..n]).unwrap();
        let whole = bytes[..n].iter().filter(|&&byte| byte == b'\n').count();
        // A record that lacks nothing but its line break is a record.
        let n_records = whole + usize::from(bytes.get(n) == Some(&b'\n'));
        assert_eq!(read(&path).unwrap(), records[..n_records], "cut at byte {n}");

        MetricsWriter::resume(&path, 1).unwrap().write(&step(2, 0.0)).unwrap();
        let expected = [&records[..n_records], &[event(1, "resumed"), step(2, 0.0)]].concat();
        assert_eq!(read(&path).unwrap(), expected, "cut at byte {n}");
    }
}

#[test]
fn resuming_drops_what_came_later() {
    let (_dir, path) = file();
    let mut writer = MetricsWriter::create(&path).unwrap();
    let before = [run(None), step(1, 1.0), step(2, 1.0), epoch(0, 1.0), step(3, 1.0), step(4, 1.0), epoch(1, 1.0)];
    write_all(&mut writer, &before);
    let late = Record::Checkpoint(Checkpoint { step: 2, path: "step-2".into(), ..Checkpoint::default() });
    write_all(&mut writer, &[late.clone(), event(4, "signal")]);

    let mut writer = MetricsWriter::resume(&path, 2).unwrap();
    write_all(&mut writer, &[run(Some(2)), step(3, 2.0), step(4, 2.0), epoch(1, 2.0)]);
    let expected =
        [&before[..4], &[late, event(2, "resumed"), run(Some(2)), step(3, 2.0), step(4, 2.0), epoch(1, 2.0)]];
    assert_eq!(read(&path).unwrap(), expected.concat());
}

#[test]
fn of_repeated_steps_the_last_counts() {
    let (_dir, path) = file();
    let records = [step(1, 1.0), step(2, 1.0), epoch(0, 1.0), step(2, 2.0), step(3, 2.0), epoch(0, 2.0)];
    write_all(&mut MetricsWriter::create(&path).unwrap(), &records);
    assert_eq!(read(&path).unwrap(), [step(1, 1.0), step(2, 2.0), step(3, 2.0), epoch(0, 2.0)]);
}

#[test]
fn creating_replaces() {
    let (_dir, path) = file();
    write_all(&mut MetricsWriter::create(&path).unwrap(), &one_of_each());
    MetricsWriter::create(&path).unwrap();
    assert_eq!(read(&path).unwrap(), []);
}

fn refusal(lines: &str) -> String {
    let (_dir, path) = file();
    MetricsWriter::create(&path).unwrap();
    fs::write(&path, lines).unwrap();
    let message = read(&path).unwrap_err().to_string();
    message.strip_prefix(&path.display().to_string()).unwrap().to_owned()
}

#[test]
fn malformed_lines_are_refused_by_number() {
    let good = serde_json::to_string(&event(1, "signal")).unwrap();
    for bad in
        ["", "{", "[1]", r#"{"kind":"event","step":1}"#, r#"{"kind":"weather"}"#, r#"{"kind":"probe","step":-1}"#]
    {
        let message = refusal(&format!("{good}\n{bad}\n{good}\n"));
        assert!(message.starts_with(", line 2: not a record of a training run ("), "{message}");
        assert!(message.ends_with("); correct or remove the line"), "{message}");
    }
    let newer = serde_json::to_string(&run(None)).unwrap().replace(r#""schema":1"#, r#""schema":2"#);
    let expected = ", line 1: schema 2, written by a newer braidnet; this one reads up to schema 1, upgrade it";
    assert_eq!(refusal(&format!("{newer}\n{good}\n")), expected);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = read("no/such/metrics.jsonl").unwrap_err().to_string();
    assert!(message.starts_with("cannot read no/such/metrics.jsonl: "), "{message}");
}
