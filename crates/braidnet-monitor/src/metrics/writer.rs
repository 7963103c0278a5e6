//! Writing records.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::record::{Event, RESUMED, Record};
use crate::MonitorError;

/// Writes `metrics.jsonl`, a line per record.
#[derive(Debug)]
pub struct MetricsWriter {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
}

impl MetricsWriter {
    /// Begins a file, and its folder if need be; replaces a file that is there.
    ///
    /// # Errors
    /// [`MonitorError::Io`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, MonitorError> {
        let path = path.as_ref();
        create_parent(path)?;
        let file = File::create(path).map_err(MonitorError::io("create", path))?;
        Ok(Self { file, path: path.to_owned(), line: Vec::new() })
    }

    /// Goes on with a file, or begins it if there is none, and writes an event `resumed` for `step`: from there on
    /// [`read`](super::read) drops the records of later steps that the file holds already.
    ///
    /// A last line that was torn by a kill is removed.
    ///
    /// # Errors
    /// [`MonitorError::Io`].
    pub fn resume(path: impl AsRef<Path>, step: u64) -> Result<Self, MonitorError> {
        let path = path.as_ref();
        create_parent(path)?;
        let file =
            OpenOptions::new().create(true).append(true).open(path).map_err(MonitorError::io("append to", path))?;
        let mut writer = Self { file, path: path.to_owned(), line: Vec::new() };
        writer.close_last_line()?;
        writer.write(&Record::Event(Event { step, what: RESUMED.into(), detail: String::new() }))?;
        Ok(writer)
    }

    /// Writes one record and hands it to the operating system at once.
    ///
    /// # Errors
    /// [`MonitorError::Io`].
    pub fn write(&mut self, record: &Record) -> Result<(), MonitorError> {
        self.line.clear();
        let encoded = serde_json::to_writer(&mut self.line, record).map_err(Into::into);
        self.line.push(b'\n');
        // One call for the whole line, so that no other line ever comes between its parts.
        encoded.and_then(|()| self.file.write_all(&self.line)).map_err(MonitorError::io("write to", &self.path))
    }

    /// Makes the file end with a whole line.
    fn close_last_line(&mut self) -> Result<(), MonitorError> {
        let bytes = fs::read(&self.path).map_err(MonitorError::io("read", &self.path))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
        let last = &bytes[whole..];
        let done = if last.is_empty() {
            Ok(())
        } else if serde_json::from_slice::<Record>(last).is_ok() {
            self.file.write_all(b"\n")
        } else {
            self.file.set_len(whole as u64)
        };
        done.map_err(MonitorError::io("write to", &self.path))
    }
}

fn create_parent(path: &Path) -> Result<(), MonitorError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if parent.as_os_str().is_empty() {
        return Ok(());
    }
    fs::create_dir_all(parent).map_err(MonitorError::io("create the folder", parent))
}
