//! Writing: every rank its parts, one rank the commit.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use crate::{Checkpoint, CheckpointError, Index, Manifest, Part, PartEntry, RunState, files, layout, tensor_file};

/// Held while a run writes, so that no other takes its unfinished folders for left-overs.
const LOCK: &str = ".lock";

/// A folder of checkpoints, to write parts to. Every rank makes one of its own.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in a folder. Touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes parts, each to files of its own, and waits until they are on the disk. Tensors are not copied.
    ///
    /// # Errors
    /// [`CheckpointError`] where the checkpoint was not begun, a part is there already, a tensor's bytes do not fill its
    /// shape, or the disk refuses.
    ///
    /// # Communication
    /// None; call it after [`Committer::begin`] has returned [`Begun::New`] on the committing rank, and send that rank
    /// the manifest.
    pub fn write_parts(&self, step: u64, parts: &[Part]) -> Result<Manifest, CheckpointError> {
        let folder = layout::unfinished(&self.root, step);
        if !folder.is_dir() {
            return Err(CheckpointError::NotBegun { folder });
        }
        let parts = parts.iter().map(|part| write_part(&folder, part)).collect::<Result<Vec<_>, _>>()?;
        // Only now: the disk writes while the next file is hashed, and gathers what belongs together.
        parts.iter().flat_map(PartEntry::files).try_for_each(|file| files::sync(&folder.join(&file.name)))?;
        Ok(Manifest { step, parts })
    }
}

fn write_part(folder: &Path, part: &Part) -> Result<PartEntry, CheckpointError> {
    let write = |name: String, tensors| {
        tensor_file::write(&folder.join(name), tensors).map_err(|error| match error {
            CheckpointError::Io { path, source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                CheckpointError::DuplicatePart { file: path, part: part.name }
            }
            error => error,
        })
    };
    let parameters = write(part.name.parameters_file(), &part.parameters)?;
    let some = !part.moments.is_empty();
    let moments = some.then(|| write(part.name.moments_file(), &part.moments)).transpose()?;
    Ok(PartEntry { name: part.name, parameters, moments, scalars: part.scalars.clone() })
}

/// What [`Committer::begin`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing of this step: write the parts, then commit.
    New,
    /// The step is saved and complete: nothing is to be written, and nothing to be committed.
    Saved,
}

/// The one who begins and commits checkpoints: one rank of one run at a time.
#[derive(Debug)]
pub struct Committer {
    store: Store,
    keep: NonZeroUsize,
    lock: File,
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Closing is not enough where a process was started meanwhile and holds a copy. A crash releases it as well.
        let _ = self.lock.unlock();
    }
}

impl Committer {
    /// Opens a folder for writing, makes it where it is not there, and removes what runs that ended midway have left.
    /// Of the checkpoints made by this library the newest `keep` stay.
    ///
    /// # Errors
    /// [`CheckpointError::Locked`] where another run is writing, [`CheckpointError::Io`] where the disk refuses.
    pub fn open(root: impl Into<PathBuf>, keep: NonZeroUsize) -> Result<Self, CheckpointError> {
        let root = root.into();
        if root.exists() && !root.is_dir() {
            return Err(CheckpointError::NotAFolder { path: root });
        }
        fs::create_dir_all(&root).map_err(CheckpointError::io("make", &root))?;
        let lock = lock(&root)?;
        layout::remove_leftovers(&root)?;
        Ok(Self { store: Store::at(root), keep, lock })
    }

    /// The store, to write parts to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes the folder that parts are written to. Parts of an earlier attempt at the same step are removed.
    ///
    /// A step that is saved already is checked by its hashes and left as it is.
    ///
    /// # Errors
    /// [`CheckpointError::ExistsDamaged`] where the step is saved but not complete, [`CheckpointError::Io`] where the
    /// disk refuses.
    ///
    /// # Communication
    /// None; the other ranks need to know the outcome before they write.
    pub fn begin(&self, step: u64) -> Result<Begun, CheckpointError> {
        let root = self.store.root();
        let folder = layout::folder(root, step);
        if exists(&folder) {
            Checkpoint::open_complete(&folder)
                .map_err(|cause| CheckpointError::ExistsDamaged { folder, cause: Box::new(cause) })?;
            // The run before may have ended between the commit's last two renames.
            if layout::read_latest(root)?.is_none_or(|latest| latest < step) {
                layout::write_latest(root, step)?;
            }
            return Ok(Begun::Saved);
        }
        let folder = layout::unfinished(root, step);
        if exists(&folder) {
            layout::remove_folder(&folder)?;
        }
        fs::create_dir(&folder).map_err(CheckpointError::io("make", &folder))?;
        Ok(Begun::New)
    }

    /// Makes a checkpoint of the parts written: from here on it is the latest. Returns its folder. Then the oldest
    /// beyond those to keep are removed.
    ///
    /// # Errors
    /// [`CheckpointError`] where a part is missing or there twice, a file is not as its manifest says, two tensors have
    /// one name, or the disk refuses. The checkpoint before stays the latest, unless only the removal failed.
    ///
    /// # Communication
    /// None; needs the manifests of all ranks.
    pub fn commit(&self, manifests: Vec<Manifest>, run: &RunState) -> Result<PathBuf, CheckpointError> {
        let root = self.store.root();
        let (unfinished, folder) = (layout::unfinished(root, run.step), layout::folder(root, run.step));
        if !unfinished.is_dir() {
            return Err(CheckpointError::NotBegun { folder: unfinished });
        }
        if let Some(other) = manifests.iter().find(|manifest| manifest.step != run.step) {
            return Err(CheckpointError::OtherStep { expected: run.step, got: other.step });
        }
        let parts = manifests.into_iter().flat_map(|manifest| manifest.parts).collect();
        let index = Index::new(&unfinished, run, parts)?;
        for entry in index.files() {
            let file = unfinished.join(&entry.name);
            files::check_size(&file, entry.size, files::plain_size(&file)?)?;
        }
        index.write(&unfinished)?;
        files::sync_folder(&unfinished)?;
        if exists(&folder) {
            return Err(CheckpointError::Exists { folder });
        }
        files::rename(&unfinished, &folder)?;
        layout::write_latest(root, run.step)?;
        self.remove_oldest(run.step)?;
        Ok(folder)
    }

    /// Removes the oldest checkpoints beyond those to keep; never `latest`, nor a folder that is not surely ours.
    fn remove_oldest(&self, latest: u64) -> Result<(), CheckpointError> {
        let root = self.store.root();
        let ours = |&step: &u64| Checkpoint::open_listed(&layout::folder(root, step)).is_ok();
        let ours = layout::steps(root)?.into_iter().filter(ours);
        for step in ours.skip(self.keep.get()).filter(|&step| step != latest) {
            // First out of sight: a removal that ends midway must leave no half checkpoint.
            let unfinished = layout::unfinished(root, step);
            files::rename(&layout::folder(root, step), &unfinished)?;
            layout::remove_folder(&unfinished)?;
        }
        Ok(())
    }
}

/// Whether there is anything of that name, also a link to nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn lock(root: &Path) -> Result<File, CheckpointError> {
    let path = root.join(LOCK);
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(CheckpointError::io("write", &path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(CheckpointError::Locked { root: root.to_owned() }),
        // Not every file system has locks; one that has none is no reason to lose a run.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}
