//! ModelNet10, or any set of the same folders (ModelNet40): which of ten pieces of furniture a mesh shows.
//!
//! A folder a class, in it `train` and `test`, and in these the meshes ([`off`]). They are listed by [`open`]
//! and made into voxels when asked for. Reading large meshes takes time, so the grids can be kept in a folder from one
//! epoch, or run, to the next.
//!
//! # Reference
//! Z. Wu, S. Song, A. Khosla, F. Yu, L. Zhang, X. Tang, J. Xiao, *3D ShapeNets: a deep representation for volumetric
//! shapes*, CVPR 2015.

mod cache;
mod folder;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    DataError, off,
    voxels::{self, Fill, VoxelSet, VoxelSplit, voxelise},
};
use cache::Key;

/// The models of one part, as grids of voxels.
#[derive(Debug)]
pub struct ModelSet {
    models: Vec<Model>,
    class_names: Vec<String>,
    n: usize,
    fill: Fill,
    unkept: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    file: PathBuf,
    /// Where its grid is kept.
    cached: Option<PathBuf>,
    label: usize,
}

/// Lists the models in `folder`, to be made into grids of `n` voxels a side as [`voxelise`] does.
///
/// `folder` holds the folders of the classes, or else a folder `ModelNet10` that does. A class is a folder with a
/// folder `train` or `test` in it, and has models, files that end in `.off`, in both; other files and folders do not
/// count, nor do those that begin with a dot. Classes and models are in the order of their names, the same everywhere.
///
/// With a folder for the `cache`, which is made where it does not exist, grids are kept there, one small file each, and
/// read the next time. A file of the cache that is damaged, or of another version, or of a model whose size or time of
/// change is not the same any more, is made again. Several processes may use one folder at once. It may be deleted at
/// any time; models of another folder with the same names belong into another cache.
///
/// # Errors
/// [`DataError`], naming the folder: it is none, or one in it cannot be read; no classes; a class without models in one
/// of its parts; a cache that cannot be made; or `n` not in [`voxels::SIDES`]. The models themselves are not read.
pub fn open(folder: &Path, n: usize, fill: Fill, cache: Option<&Path>) -> Result<VoxelSplit<ModelSet>, DataError> {
    voxels::check_side(n)?;
    let classes = folder::classes(folder)?;
    if let Some(folder) = cache {
        fs::create_dir_all(folder).map_err(|source| DataError::CacheFolder { folder: folder.to_owned(), source })?;
    }
    let set = |part: &str| -> Result<ModelSet, DataError> {
        let mut models = Vec::new();
        for (label, class) in classes.iter().enumerate() {
            for file in folder::models(&class.folder.join(part))? {
                let cached = cache.map(|cache| cache::place(cache, &class.name, part, &file, n, fill));
                models.push(Model { file, cached, label });
            }
        }
        let class_names = classes.iter().map(|class| class.name.clone()).collect();
        Ok(ModelSet { models, class_names, n, fill, unkept: AtomicUsize::new(0) })
    };
    Ok(VoxelSplit { train: set("train")?, test: set("test")? })
}

impl ModelSet {
    /// The file of model `i`.
    ///
    /// # Panics
    /// Where `i` is not below [`len`](VoxelSet::len), as a slice does.
    pub fn file(&self, i: usize) -> &Path {
        &self.models[i].file
    }

    /// How many grids could not be kept in the cache, as when the disk is full. That costs time, and nothing else: they
    /// are made again when next asked for.
    pub fn unkept(&self) -> usize {
        self.unkept.load(Ordering::Relaxed)
    }

    fn make(&self, model: &Model) -> Result<Vec<u8>, DataError> {
        voxelise(&off::read(&model.file)?, self.n, self.fill)
    }
}

impl VoxelSet for ModelSet {
    fn len(&self) -> usize {
        self.models.len()
    }

    fn side(&self) -> usize {
        self.n
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn label(&self, i: usize) -> usize {
        self.models[i].label
    }

    fn voxels(&self, i: usize) -> Result<Vec<u8>, DataError> {
        let model = &self.models[i];
        let Some(cached) = &model.cached else {
            return self.make(model);
        };
        let key = Key::of(&model.file, self.n, self.fill)?;
        if let Some(voxels) = cache::read(cached, &key) {
            return Ok(voxels);
        }
        let voxels = self.make(model)?;
        // A model that has changed since is not known to be the one read.
        if Key::of(&model.file, self.n, self.fill)? == key && cache::write(cached, &key, &voxels).is_err() {
            self.unkept.fetch_add(1, Ordering::Relaxed);
        }
        Ok(voxels)
    }
}
