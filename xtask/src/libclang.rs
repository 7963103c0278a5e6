//! Finding libclang, with which bindgen reads MPI's header.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::probe;

/// The library that bindgen will find, more or less: it looks in the same places. Without clang's headers it is of no
/// use, and does not count.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        return if path.is_file() { Some(path) } else { libclang_in(&path) };
    }
    let by_clang = || ["libclang.so", "libclang.dylib"].into_iter().find_map(ask_clang);
    let by_config = || libclang_in(Path::new(probe("llvm-config", &["--libdir"])?.trim()));
    by_clang().or_else(by_config).or_else(ask_linker).or_else(search_folders).filter(|_| has_headers())
}

/// Whether clang's own headers, such as `stddef.h`, are here; Debian's package of the library alone has none.
fn has_headers() -> bool {
    let is_in = |folder: PathBuf| entries(&folder).iter().any(|version| version.join("include/stddef.h").is_file());
    probe("clang", &["--version"]).is_some()
        || llvm_folders().iter().any(|folder| is_in(folder.join("clang")))
        || ["/usr/lib/clang", "/usr/lib64/clang"].iter().any(|folder| is_in(folder.into()))
}

fn ask_clang(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(probe("clang", &[&format!("-print-file-name={name}")])?.trim());
    // Clang answers with the bare name if it does not find the file.
    (path.is_absolute() && path.is_file()).then_some(path)
}

fn ask_linker() -> Option<PathBuf> {
    let list = ["ldconfig", "/sbin/ldconfig"].into_iter().find_map(|program| probe(program, &["-p"]))?;
    let paths = list.lines().filter_map(|line| Some(PathBuf::from(line.split_once("=> ")?.1.trim())));
    paths.into_iter().find(|path| is_libclang(path))
}

fn search_folders() -> Option<PathBuf> {
    llvm_folders().iter().find_map(|folder| libclang_in(folder))
}

/// The usual folders of LLVM: Debian's, Homebrew's and Apple's.
fn llvm_folders() -> Vec<PathBuf> {
    let is_llvm = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm"));
    let debian = entries(Path::new("/usr/lib")).into_iter().filter(is_llvm).map(|path| path.join("lib"));
    let others = [
        "/opt/homebrew/opt/llvm/lib",
        "/usr/local/opt/llvm/lib",
        "/Library/Developer/CommandLineTools/usr/lib",
        "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
    ];
    debian.chain(others.map(PathBuf::from)).collect()
}

fn libclang_in(folder: &Path) -> Option<PathBuf> {
    entries(folder).into_iter().find(|path| is_libclang(path))
}

/// What a folder holds; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn is_libclang(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_library = name.contains(".so") || name.ends_with(".dylib");
    let rest = name.strip_prefix("libclang").unwrap_or("x");
    let rest = rest.strip_prefix('-').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(rest);
    is_library && rest.starts_with(|c: char| c == '.' || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_has_many_names() {
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so", "libclang-14.so.13", "libclang.dylib"] {
            assert!(is_libclang(Path::new(name)), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangAST.a", "libclang.a", "libLLVM.so", "clang"] {
            assert!(!is_libclang(Path::new(name)), "{name}");
        }
    }
}
