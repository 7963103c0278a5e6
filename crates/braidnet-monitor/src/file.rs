//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::MonitorError;

/// Writes a file under a temporary name and renames it, so that no reader ever sees a part of it.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), MonitorError> {
    let temporary = path.with_added_extension("tmp");
    let written = File::create(&temporary).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()
    });
    written.map_err(MonitorError::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(MonitorError::io("rename a temporary file to", path))
}
