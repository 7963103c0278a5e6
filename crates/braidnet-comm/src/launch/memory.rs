//! Memory that stays with the process.
//!
//! A training step makes and frees the same large tensors again and again. glibc gives the larger ones back to the system at
//! once and asks for them anew, each page of them costs a fault, and a layer then spends more time on faults than on numbers.

/// Lets this process keep the memory that it frees, for itself to use again: with glibc on Linux, an arena per processor, none of which
/// is trimmed below two gibibytes. Elsewhere, and where the environment already says how to allocate (`MALLOC_*`,
/// `GLIBC_TUNABLES`), nothing.
///
/// [`launch`](super::launch) calls it; programs that start no ranks may.
pub fn keep_freed_memory() {
    let is_said = std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES"
    });
    if !is_said {
        set();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn set() {
    // In a shared arena ranks would wait for each other's allocations. glibc takes its limit from the first thread that needs one, so
    // it is not that of the ranks of this launch.
    let arenas = std::thread::available_parallelism().map_or(1, |n| i32::try_from(n.get()).unwrap_or(i32::MAX));
    let options = [(libc::M_ARENA_MAX, arenas), (libc::M_MMAP_THRESHOLD, 1 << 30), (libc::M_TRIM_THRESHOLD, i32::MAX)];
    for (option, value) in options {
        // SAFETY: `mallopt` takes two numbers, may be called at any time from any thread, and leaves what is allocated alone.
        unsafe { libc::mallopt(option, value) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set() {}
