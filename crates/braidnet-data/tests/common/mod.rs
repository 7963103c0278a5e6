//! Where the real data sets are.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folder `data/{name}`, where `BRAIDNET_SHARED` or the folder `shared` beside the workspace has it.
pub fn real_folder(name: &str) -> Option<PathBuf> {
    let shared = env::var_os("BRAIDNET_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let folder = Some(shared.join("data").join(name)).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: no data/{name} in ../shared or BRAIDNET_SHARED");
    }
    folder
}
