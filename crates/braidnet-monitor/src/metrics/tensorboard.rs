//! Event files for TensorBoard: a few fields of protocol buffers in the framing of TFRecord.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::record::{Epoch, Probe, Record, Step};
use crate::MonitorError;

/// Writes records as scalars for TensorBoard: `loss/train`, `accuracy/test`, `rho/forward` and so on, over steps.
///
/// Settings, checkpoints and events are not scalars and are left to `metrics.jsonl`. Unknown values are left out.
#[derive(Debug)]
pub struct TensorBoardWriter {
    file: File,
    path: PathBuf,
    /// The newest step, for epochs.
    step: u64,
}

impl TensorBoardWriter {
    /// Begins an event file in a folder, and the folder if need be. TensorBoard reads all files of a folder as one run.
    ///
    /// # Errors
    /// [`MonitorError::Io`].
    pub fn create(dir: impl AsRef<Path>) -> Result<Self, MonitorError> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(MonitorError::io("create the folder", dir))?;
        let (file, path) = create_file(dir)?;
        let mut writer = Self { file, path, step: 0 };
        writer.write_event(|event| put_bytes(event, 3, b"brain.Event:2"))?;
        Ok(writer)
    }

    /// Writes the scalars of one record, and hands them to the operating system at once.
    ///
    /// # Errors
    /// [`MonitorError::Io`].
    pub fn write(&mut self, record: &Record) -> Result<(), MonitorError> {
        let scalars = match record {
            Record::Step(step) => {
                self.step = step.step;
                step_scalars(step)
            }
            Record::Probe(probe) => {
                self.step = probe.step;
                probe_scalars(probe)
            }
            Record::Epoch(epoch) => epoch_scalars(epoch),
            _ => return Ok(()),
        };
        let step = self.step;
        self.write_event(|event| {
            put_varint(event, 2 << 3);
            put_varint(event, step);
            put_bytes(event, 5, &summary(&scalars));
        })
    }

    /// Writes one event: the time, then what `fill` adds.
    fn write_event(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), MonitorError> {
        let mut event = vec![1 << 3 | 1];
        event.extend(since_1970().as_secs_f64().to_le_bytes());
        fill(&mut event);
        self.file.write_all(&framed(&event)).map_err(MonitorError::io("write to", &self.path))
    }
}

/// A name and its value, where it is known.
type Scalar = (&'static str, Option<f64>);

fn step_scalars(step: &Step) -> Vec<Scalar> {
    vec![
        ("loss/train", step.loss),
        ("accuracy/train", step.accuracy),
        ("learning_rate", Some(step.learning_rate)),
        ("time/milliseconds", Some(step.milliseconds)),
        ("time/waiting", step.waiting),
        ("gradient/norm", step.gradient_norm),
        ("residual/forward", step.forward_residual),
        ("residual/backward", step.backward_residual),
        ("rho/forward", step.rho_forward),
        ("rho/backward", step.rho_backward),
    ]
}

fn probe_scalars(probe: &Probe) -> Vec<Scalar> {
    vec![("gradient/error", probe.gradient_error), ("gradient/cosine", probe.gradient_cosine)]
}

fn epoch_scalars(epoch: &Epoch) -> Vec<Scalar> {
    vec![
        ("loss/train_epoch", epoch.loss),
        ("loss/test", epoch.test_loss),
        ("accuracy/train_epoch", epoch.accuracy),
        ("accuracy/test", epoch.test_accuracy),
        ("accuracy/test_scheduled", epoch.test_accuracy_scheduled),
        ("time/samples_per_second", epoch.samples_per_second),
    ]
}

/// `Summary { repeated Value value = 1 }` with `Value { string tag = 1; float simple_value = 2 }`.
fn summary(scalars: &[Scalar]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let Some(value) = value else { continue };
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, tag.as_bytes());
        entry.push(2 << 3 | 5);
        entry.extend((*value as f32).to_le_bytes());
        put_bytes(&mut summary, 1, &entry);
    }
    summary
}

/// TFRecord: length, its checksum, the data, its checksum.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_checksum(&length), data, &masked_checksum(data)].concat()
}

/// The checksum rotated and shifted, as TFRecord wants it.
fn masked_checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A file of a name not yet taken; TensorBoard looks for `tfevents` in it.
fn create_file(dir: &Path) -> Result<(File, PathBuf), MonitorError> {
    let mut n = 0;
    loop {
        let name = format!("events.out.tfevents.{:010}.braidnet.{}.{n}", since_1970().as_secs(), process::id());
        let path = dir.join(name);
        match File::create_new(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            Err(error) => return Err(MonitorError::io("create", &path)(error)),
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file, checksums checked.
    fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let n = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            assert_eq!(rest[..4], masked_checksum(length));
            let data = &rest[4..4 + n];
            assert_eq!(rest[4 + n..8 + n], masked_checksum(data));
            frames.push(data.to_vec());
            bytes = &rest[8 + n..];
        }
        frames
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// The fields of a message: number and payload; numbers as eight bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let n = match key & 7 {
                0 => {
                    fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                5 => 4,
                _ => varint(&mut bytes) as usize,
            };
            fields.push((key >> 3, bytes[..n].to_vec()));
            bytes = &bytes[n..];
        }
        fields
    }

    fn scalars(event: &[u8]) -> Vec<(String, f32)> {
        let summary = fields(event).into_iter().find(|(number, _)| *number == 5).unwrap().1;
        let scalar = |(_, value): (u64, Vec<u8>)| {
            let parts = fields(&value);
            let tag = String::from_utf8(parts[0].1.clone()).unwrap();
            (tag, f32::from_le_bytes(parts[1].1.clone().try_into().unwrap()))
        };
        fields(&summary).into_iter().map(scalar).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = TensorBoardWriter::create(dir.path()).unwrap();
        let step = Step { step: 300, loss: Some(0.5), learning_rate: 0.1, milliseconds: 12.0, ..Step::default() };
        writer.write(&Record::Step(step)).unwrap();
        writer.write(&Record::Epoch(Epoch { test_loss: Some(0.75), ..Epoch::default() })).unwrap();

        let frames = frames(&fs::read(&writer.path).unwrap());
        assert_eq!(frames.len(), 3);
        assert_eq!(fields(&frames[0])[1], (3, b"brain.Event:2".to_vec()));
        assert_eq!(fields(&frames[1])[1], (2, 300_u64.to_le_bytes().to_vec()));
        let expected = [("loss/train", 0.5), ("learning_rate", 0.1), ("time/milliseconds", 12.0)];
        assert_eq!(scalars(&frames[1]), expected.map(|(tag, value)| (tag.to_owned(), value)));
        assert_eq!(fields(&frames[2])[1], (2, 300_u64.to_le_bytes().to_vec()));
        assert_eq!(scalars(&frames[2]), [("loss/test".to_owned(), 0.75)]);
    }

    #[test]
    fn checksums_are_those_of_tfrecord() {
        // The length of a first event of 24 bytes, as TensorFlow writes it at the start of every event file.
        assert_eq!(masked_checksum(&24_u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn two_writers_take_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [0, 1].map(|_| TensorBoardWriter::create(dir.path()).unwrap().path);
        assert_ne!(paths[0], paths[1]);
    }
}
