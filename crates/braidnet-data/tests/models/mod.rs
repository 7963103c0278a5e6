//! A folder of models like that of ModelNet10, for the tests of folder and cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use braidnet_data::{
    DataError,
    modelnet::{self, ModelSet},
    voxels::{Fill, VoxelSplit},
};
use tempfile::TempDir;

pub const TETRAHEDRON: &str = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n";

/// A folder of a test's own.
pub struct Folder {
    folder: TempDir,
    root: PathBuf,
}

impl Folder {
    /// Two classes, three models to train with and two to test with, all different, below `root`.
    pub fn sound(root: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join(root);
        let files = [
            "bed/train/bed_0002.off",
            "bed/train/bed_0001.off",
            "bed/test/bed_0003.off",
            "night_stand/train/night_stand_0001.OFF",
            "night_stand/test/night_stand_0002.off",
        ];
        for (height, file) in files.iter().enumerate() {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            // Glued to the sizes, as in many files of the original.
            let text = TETRAHEDRON.replace("0 0 1\n3", &format!("0 0 {}\n3", 0.3 + height as f32));
            fs::write(file, if height % 2 == 0 { text.replacen("OFF\n", "OFF", 1) } else { text }).unwrap();
        }
        Self { folder, root }
    }

    /// The folder with the classes in it, or in a folder in it.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    #[allow(dead_code, reason = "the tests of the folder do not touch the models through it")]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Grids of 8 voxels a side, solid.
    pub fn open(&self, cache: Option<&Path>) -> Result<VoxelSplit<ModelSet>, DataError> {
        modelnet::open(self.root(), 8, Fill::Solid, cache)
    }
}
